"""Stock vLLM and Demur in one server: both front ends in one process, on one engine.

    python -m benchmarks.serving.shared CHECKPOINT [any flag of demur-serve]

Two servers of the same program differ by where their memory happens to lie; here only what is
compared does. Paths below /stock are stock vLLM's, and a POST to /gate/in or /gate/out puts the
gate into the engine's sampler or takes it out, while nothing is running.
"""

import os
import sys
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

STOCK, GATE = "/stock", "/gate"
FLAGS = ("--worker-extension-cls", "benchmarks.switch.SwitchedWorker")


def side(url: str, *, ours: bool) -> str:
    """Where to ask for one of both, at the server at `url`, whose gate is set accordingly."""
    httpx.post(f"{url}{GATE}/{'in' if ours else 'out'}", timeout=60).raise_for_status()
    return url if ours else url + STOCK


class Sides:
    """Stands before both applications, outside of all of their middleware."""

    def __init__(self, ours: ASGIApp, stock: ASGIApp, engine: Any) -> None:
        self._ours = ours
        self._stock = stock
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on to one of them, or set the gate."""
        path = scope.get("path", "")
        if path.startswith(f"{STOCK}/"):
            inner = path.removeprefix(STOCK)
            await self._stock({**scope, "path": inner, "raw_path": inner.encode()}, receive, send)
        elif path.startswith(f"{GATE}/"):
            gated = path == f"{GATE}/in"
            await self._engine.collective_rpc("set_gated", args=(gated,))
            await PlainTextResponse("in" if gated else "out")(scope, receive, send)
        else:
            await self._ours(scope, receive, send)


async def put_beside_stock(app: FastAPI, arguments: list[str]) -> None:
    """Let ours, which is about to be served, stand beside stock vLLM's."""
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.app import build_app

    from server import launch

    engine = app.state.engine_client
    args = launch.parse(arguments)
    args.api_server_count = 1
    os.environ["VLLM_PLUGINS"] = ""
    tasks = await engine.get_supported_tasks()
    stock = build_app(args, tasks, engine.model_config)
    await init_app_state(engine, stock.state, args, tasks)
    app.middleware_stack = Sides(app.build_middleware_stack(), stock, engine)


def main() -> int:
    """Serve until stopped. Returns the exit status."""
    from vllm.entrypoints.launchers.api_server import entry

    from server.cli import main as serve

    arguments = [*sys.argv[1:], *FLAGS]
    serve_http = entry.serve_http  # type: ignore[attr-defined]

    async def serve_both(app: FastAPI, *args: Any, **kwargs: Any) -> Any:
        await put_beside_stock(app, arguments)
        return await serve_http(app, *args, **kwargs)

    entry.serve_http = serve_both  # type: ignore[attr-defined]
    return serve(arguments)


if __name__ == "__main__":
    sys.exit(main())
