"""API keys: with them, every route but the health check and the playground's files needs one.

A browser's preflight carries none, and is answered before it comes here (server/cors.py).
vLLM (0.32) asks for a key under some prefixes only (`/v1` among them): `/metrics`, `/version` and
`/openapi.json` would be open.
"""

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from vllm.entrypoints.serve.middleware.authenticate import AuthenticationMiddleware

from server.errors import CLOSE, error_response
from server.operator_policy import api_keys
from server.routes import PLAYGROUND, path_of

GUARD = "server.keys.KeyGuard"
"""For vLLM's `--middleware`."""
OPEN = frozenset({"/health", *PLAYGROUND})
"""Served without a key: load balancers and containers ask for the one, browsers for the page."""


class KeyGuard:
    """ASGI middleware that answers 401 unless a request has one of the server's keys, if any.

    vLLM's own class compares: SHA-256 digests by `secrets.compare_digest`, each key in turn, so
    that the time says nothing of how much of a key was right or which one it was.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._verifier: AuthenticationMiddleware | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what has a key or needs none."""
        if scope["type"] != "http" or path_of(scope) in OPEN:
            await self._app(scope, receive, send)
            return
        if self._verifier is None:
            self._verifier = AuthenticationMiddleware(self._app, api_keys(scope["app"].state.args))
        headers = Headers(scope=scope)
        if not self._verifier.api_tokens or self._verifier.verify_token(headers):
            await self._app(scope, receive, send)
            return
        needed = {"www-authenticate": "Bearer"} | CLOSE
        message = "no API key of this server's in the header: Authorization: Bearer KEY"
        await error_response(HTTPStatus.UNAUTHORIZED, message, needed)(scope, receive, send)
