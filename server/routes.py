"""The routes that are served; vLLM registers many more, which reach the engine past our handler.

They are taken out when the routes are put together, and an allowlist in front of the application
answers 404 for whatever is added later or under another name. docs/security.md has the whole list.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from server.errors import error_response

CHAT = "/v1/chat/completions"
MODERATIONS = "/v1/moderations"
CATEGORIES = "/v1/refusal/categories"
CALIBRATION = "/v1/refusal/calibration"
_PAGE_LOADS = (
    "answer.js",
    "api.js",
    "base.css",
    "chat.js",
    "clipboard.js",
    "controls.css",
    "conversation.css",
    "dial.css",
    "dial.js",
    "dom.js",
    "events.js",
    "follow.js",
    "harmless.js",
    "icon.svg",
    "key.js",
    "latest.js",
    "narrow.css",
    "numbers.js",
    "playground.js",
    "scores.css",
    "scores.js",
    "setting.js",
    "slider.js",
    "snippets.js",
)
PLAYGROUND: Mapping[str, str] = {
    "/": "index.html",
    **{f"/playground/{name}": name for name in _PAGE_LOADS},
}
"""The playground's paths, each with its file in server/playground. They hold no secret, and a
browser sends no key for them: the page is open, what it asks for is not."""
ALLOWED: frozenset[tuple[str, str]] = frozenset(
    {
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/v1/models"),
        ("GET", "/version"),
        ("GET", CATEGORIES),
        ("GET", CALIBRATION),
        ("POST", CHAT),
        ("POST", MODERATIONS),
        *(("GET", path) for path in PLAYGROUND),
    }
)
_PATHS = frozenset(path for _, path in ALLOWED)
PLUGIN = "demur"
GUARD = "server.routes.guard"
"""For vLLM's `--middleware`: `RouteGuard`, if our routes are in place."""

_pruned: list[FastAPI] = []
"""The applications of this process that have our routes."""


def __getattr__(name: str) -> Any:
    """`guard`, which vLLM (0.32) looks up when it has attached the endpoint plugins.

    It only logs that a plugin cannot be loaded, and would serve its own routes. An error here ends
    the process; one that middleware raises, when the server starts, uvicorn passes over.
    """
    if name != GUARD.rpartition(".")[2]:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _pruned:
        raise RuntimeError(
            f"vLLM did not load the endpoint plugin {PLUGIN!r}, see its log above: chat completions"
            " would not be gated as clients expect. Not serving."
        )
    return RouteGuard


def path_of(scope: Scope) -> str:
    """The path of an HTTP request, without what a proxy has in front of it (`--root-path`)."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def prune(app: FastAPI) -> None:
    """Take every route out of `app` that is not allowed."""
    _pruned.append(app)
    app.router.routes[:] = [route for route in app.router.routes if _allowed(route)]
    app.openapi_schema = None


def _allowed(route: BaseRoute) -> bool:
    path = getattr(route, "path", None)
    methods: Iterable[str] = getattr(route, "methods", None) or ("GET",)
    return all((method, path) in ALLOWED for method in set(methods) - {"HEAD"})


class RouteGuard:
    """ASGI middleware in front of everything: allowed routes only, and no websockets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is allowed."""
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        if scope["type"] == "http" and not _is_preflight(scope) and not _is_served(scope):
            await _not_found(scope)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_served(scope: Scope) -> bool:
    # A known path under another method goes on, to be answered 405 as usual.
    return path_of(scope) in _PATHS


def _is_preflight(scope: Scope) -> bool:
    return bool(scope["method"] == "OPTIONS")


def _not_found(scope: Scope) -> JSONResponse:
    message = f"{scope['method']} {scope['path']} is not served"
    return error_response(HTTPStatus.NOT_FOUND, message)
