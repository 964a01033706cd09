"""SIGTERM and SIGINT: requests in flight are finished within a limit, new ones sent elsewhere.

A Ctrl-C also reaches vLLM's worker processes, where it has any: these end at once all the same.

vLLM (0.32) finishes what is in flight (`--shutdown-timeout`), but still says that it is healthy and
answers new requests with a 500; it waits without a limit for clients that do not read; and with
several API servers, none of which owns the engines, it finishes nothing.
"""

import asyncio
import logging
import signal
import threading
import time
from http import HTTPStatus
from typing import Any

import uvicorn
from starlette.datastructures import State
from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import CLOSE, error_response
from server.routes import path_of

GUARD = "server.drain.DrainGuard"
"""For vLLM's `--middleware`."""
DRAIN_S = 20
"""Default of vLLM's `--shutdown-timeout`, which is 0 there: requests in flight would be cut off."""
READING_S = 3
"""For clients to read what the engine has written for them, once it has ended."""
_PAUSE_S = 0.2

_stopping = threading.Event()

logger = logging.getLogger("vllm.demur.drain")


class DrainGuard:
    """ASGI middleware that answers 503 once a signal has come, so that balancers go elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what comes before the signal; metrics are served to the end."""
        if scope["type"] == "http" and stopping() and path_of(scope) != "/metrics":
            message = "this server is stopping; send the request again, to another one"
            headers = {"retry-after": "1"} | CLOSE
            response = error_response(HTTPStatus.SERVICE_UNAVAILABLE, message, headers)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


def stopping() -> bool:
    """Whether this process was asked to stop."""
    return _stopping.is_set()


def finish_first(engine: Any) -> None:
    """Have an engine's client (AsyncLLM) wait for what is in flight before it is shut down.

    Not for the only API server: there vLLM waits, as long as it may.
    """
    if engine.vllm_config.parallel_config._api_process_count == 1:
        return
    shut_down = engine.shutdown

    def finish(timeout: float | None = None) -> None:  # in a thread of its own
        end = time.monotonic() + (timeout or 0)
        while engine.get_num_unfinished_requests() and time.monotonic() < end:
            if engine.errored:
                break
            time.sleep(_PAUSE_S)
        shut_down(timeout)

    engine.shutdown = finish


async def prepare(state: State) -> None:
    """Listen to both signals as soon as vLLM has put its own handlers in place and serves.

    state: the application's. Runs in the event loop of the main thread.
    """
    server = await _serving(state)
    server.config.timeout_graceful_shutdown = READING_S
    # vLLM's handlers are the event loop's: it hears of signals by a file handle, whatever is here.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _begin)


def _begin(number: int, _: object) -> None:
    if not stopping():
        name = signal.Signals(number).name
        logger.info("%s: no more requests; those in flight are finished", name)
    _stopping.set()


async def _serving(state: State) -> uvicorn.Server:
    """vLLM's uvicorn server, once it accepts connections."""
    while True:
        server: uvicorn.Server | None = getattr(state, "server", None)
        if server is not None and server.started:
            return server
        await asyncio.sleep(_PAUSE_S)
