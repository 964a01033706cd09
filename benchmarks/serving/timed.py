"""`demur-serve` with a clock around what stock vLLM does not do when it starts.

    DEMUR_PARTS=FILE python -m benchmarks.serving.timed CHECKPOINT [any flag of demur-serve]

What both import is imported first. FILE has a JSON map from parts to seconds once the gate is
proved. The engine's process imports the gate besides: a module of a few hundred lines.
"""

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

FILE = "DEMUR_PARTS"
LAUNCH = ("load_checkpoint", "load_policy", "gate_for", "put_gate_in", "name_plugin")
"""Functions of server/launch.py that run before vLLM's own command."""


class Parts:
    """Seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The function with the clock running."""

        @wraps(work)
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                self.seconds[name] = time.perf_counter() - start

        return run

    def timed_and_kept(
        self, name: str, work: Callable[..., Awaitable[None]], file: Path
    ) -> Callable[..., Awaitable[None]]:
        """The same of the last part, which waits; then all are written."""

        @wraps(work)
        async def run(*args: Any, **kwargs: Any) -> None:
            start = time.perf_counter()
            await work(*args, **kwargs)
            self.seconds[name] = time.perf_counter() - start
            file.write_text(json.dumps(self.seconds), encoding="utf-8")

        return run


def main() -> int:
    """Serve until stopped. Returns the exit status."""
    import uvicorn  # noqa: F401 - vLLM's launcher imports it, too
    import vllm.entrypoints.cli.serve
    import vllm.entrypoints.openai.chat_completion.serving
    import vllm.parser  # noqa: F401

    parts = Parts()
    start = time.perf_counter()
    from server import launch, plugin
    from server.cli import main as serve

    parts.seconds["imports"] = time.perf_counter() - start
    for name in LAUNCH:
        setattr(launch, name, parts.timed(name, getattr(launch, name)))
    plugin.DemurPlugin.init_state = parts.timed_and_kept(  # type: ignore[assignment, method-assign]
        "init_state", plugin.DemurPlugin.init_state, Path(os.environ[FILE])
    )
    return serve(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
