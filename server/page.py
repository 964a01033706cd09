"""The playground: a page at `/` that asks this server as any other client does.

It is static files and holds no secret, so it is served without an API key; what it asks for under
`/v1` needs one, and the person types it in.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse

from server.routes import PLAYGROUND

FOLDER = Path(__file__).with_name("playground")
HEADERS = {
    # This server's own files and answers only, and no script can write HTML (trusted types).
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


def page_router() -> APIRouter:
    """Routes of the page and what it loads; not part of the API, so not in its description."""
    router = APIRouter(include_in_schema=False)
    for path, name in PLAYGROUND.items():
        router.add_api_route(path, _sender(FOLDER / name), methods=["GET", "HEAD"])
    return router


def _sender(file: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def send() -> FileResponse:
        return FileResponse(file, headers=HEADERS)

    return send
