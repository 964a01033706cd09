"""Start an arm's server, ask it once, and stop it."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.serving.arms import Arm, Program
from benchmarks.serving.load import MODEL
from benchmarks.serving.machine import Cores, on
from steering.manifest import Manifest
from tests.e2e.server import DEMUR_SERVE, START_S, Server, free_port

PROGRAMS: Mapping[Program, tuple[str, ...]] = {
    "stock": (sys.executable, "-m", "benchmarks.serving.stock"),
    "ours": DEMUR_SERVE,
    "timed": (sys.executable, "-m", "benchmarks.serving.timed"),
    "shared": (sys.executable, "-m", "benchmarks.serving.shared"),
}
GUARD = (sys.executable, "-m", "benchmarks.serving.guard")
FLAGS = ("--served-model-name", MODEL, "--no-enable-prefix-caching")
"""Of every server, with the calibration's dtype: ours takes it where none is given, and stock vLLM
makes bfloat16 of float32."""
ROOT = Path(__file__).parents[2]
POLL_S = 0.02
ASKED = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 8,
    "temperature": 0,
}


@dataclass(frozen=True)
class Started:
    """A server that has given its first answer."""

    server: Server
    url: str
    """Where clients ask: the server, or the guard in front of it."""
    listens_s: float
    first_answer_s: float


@contextlib.contextmanager
def started(
    arm: Arm,
    checkpoint: Path,
    log: Path,
    cores: Cores,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Started]:
    """The arm's server on its cores, until the block ends."""
    own = cores.environment() | {"PYTHONPATH": _path()} | dict(environment or {})
    with on(cores.front | cores.engine):
        start = time.monotonic()
        server = Server(
            checkpoint,
            log,
            (*FLAGS, *_dtype(checkpoint), *arm.flags),
            own,
            program=PROGRAMS[arm.program],
        )
    try:
        with _guarded(arm, server, cores) as url:
            _wait_for_port(server)
            listens = time.monotonic() - start
            server.wait_until_ready()
            answer = httpx.post(f"{url}/v1/chat/completions", json=ASKED, timeout=START_S)
            answer.raise_for_status()
            first_answer = time.monotonic() - start
            cores.place(server.process.pid)
            yield Started(server, url, listens, first_answer)
    finally:
        server.stop()


@contextlib.contextmanager
def _guarded(arm: Arm, server: Server, cores: Cores) -> Iterator[str]:
    """Where clients ask; the guard's proxy runs until the block ends."""
    if not arm.guarded:
        yield server.url
        return
    port = free_port()
    with on(cores.front):
        proxy = subprocess.Popen(
            [*GUARD, server.url, "--port", str(port)],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": _path()},
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        proxy.terminate()
        proxy.wait()


def _wait_for_port(server: Server) -> None:
    """Return as soon as something listens; `wait_until_ready` looks too rarely for a time."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)):
            return
        time.sleep(POLL_S)


def _dtype(checkpoint: Path) -> tuple[str, ...]:
    calibration = Manifest.load(checkpoint).calibration
    return () if calibration is None else ("--dtype", calibration.dtype)


def _path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
