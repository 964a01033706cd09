"""Limits on request bodies: without them one client's body holds up everybody.

A body is parsed in the thread that serves all requests, and neither vLLM (0.32) nor uvicorn bounds
its size or the time that it takes to arrive.
"""

import asyncio
from argparse import Namespace
from collections.abc import Iterable
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import CLOSE, error_response

GUARD = "server.bodies.BodyGuard"
"""For vLLM's `--middleware`."""
MIB = 1 << 20


class BodyTooLargeError(Exception):
    """The body has more bytes than are taken."""


class GoneError(Exception):
    """The client went away while it sent its body."""


class BodyGuard:
    """ASGI middleware that reads each body, within limits, before anything else sees the request.

    The limits are the flags `--max-body-mib` and `--body-timeout`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or answer 413 or 408 and close."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        args: Namespace = scope["app"].state.args
        try:
            async with asyncio.timeout(args.body_timeout):
                body = await _read(scope, receive, int(args.max_body_mib * MIB))
        except BodyTooLargeError:
            await _too_large(args)(scope, receive, send)
        except TimeoutError:
            await _too_slow(args)(scope, receive, send)
        except GoneError:
            return
        else:
            await self._app(scope, _replayed(body, receive), send)


async def _read(scope: Scope, receive: Receive, limit: int) -> bytes:
    declared = Headers(scope=scope).get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise BodyTooLargeError
    pieces, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        piece = message.get("body", b"")
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise BodyTooLargeError
        more = message.get("more_body", False)
    return b"".join(pieces)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive` as it was before the body was read."""
    messages: Iterable[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    waiting = iter(messages)

    async def again() -> Message:
        return next(waiting, None) or await receive()

    return again


def _too_large(args: Namespace) -> JSONResponse:
    message = f"the body is larger than the {args.max_body_mib:g} MiB that this server takes"
    return error_response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, CLOSE)


def _too_slow(args: Namespace) -> JSONResponse:
    message = f"the body did not arrive within {args.body_timeout:g} seconds"
    return error_response(HTTPStatus.REQUEST_TIMEOUT, message, CLOSE)
