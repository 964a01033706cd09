"""CORS headers on whatever the middleware behind it answers to pages, too.

vLLM (0.32) adds them inside of what asks for keys: a script of another origin would see a network
error in place of a 401, 408, 413 or 503.
"""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

GUARD = "server.cors.CorsGuard"
"""For vLLM's `--middleware`."""


class CorsGuard:
    """ASGI middleware with vLLM's own flags for CORS; what vLLM's adds again is the same."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._cors: CORSMiddleware | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer preflights, and add the headers to answers to requests that name an origin."""
        if scope["type"] != "http" or "origin" not in Headers(scope=scope):
            await self._app(scope, receive, send)
            return
        if self._cors is None:
            args = scope["app"].state.args
            self._cors = CORSMiddleware(
                self._app,
                allow_origins=args.allowed_origins,
                allow_credentials=args.allow_credentials,
                allow_methods=args.allowed_methods,
                allow_headers=args.allowed_headers,
            )
        await self._cors(scope, receive, send)
