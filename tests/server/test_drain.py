"""The signal is real, so it is sent in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from server.drain import DrainGuard

PROCESS = """
import asyncio, os, signal
from types import SimpleNamespace
from starlette.datastructures import State
from server.drain import prepare, READING_S

async def main():
    state, stopped = State(), asyncio.Event()
    preparing = asyncio.create_task(prepare(state))
    await asyncio.sleep(0)
    for name in ("SIGINT", "SIGTERM"):  # as vLLM does, later
        number = getattr(signal, name)
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    config = SimpleNamespace(timeout_graceful_shutdown=None)
    state.server = SimpleNamespace(started=True, config=config)
    await preparing
    assert not hasattr(state, "draining")
    assert config.timeout_graceful_shutdown == READING_S
    os.kill(os.getpid(), signal.SIGTERM)
    await stopped.wait()
    assert state.draining
    print("stopped")

asyncio.run(main())
"""


@pytest.fixture
def served() -> FastAPI:
    application = FastAPI()
    for path in ("/health", "/metrics", "/v1/chat/completions"):
        application.add_api_route(path, lambda: "served")
    application.add_middleware(DrainGuard)
    return application


def test_nothing_is_said_before_the_signal(served: FastAPI) -> None:
    assert TestClient(served).get("/health").status_code == 200


def test_behind_it_requests_are_sent_elsewhere(served: FastAPI) -> None:
    served.state.draining = True
    client = TestClient(served)
    for path in ("/health", "/v1/chat/completions"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["connection"] == "close"
        assert "to another one" in answer.json()["error"]["message"]
    assert client.get("/metrics").status_code == 200


def test_sigterm_is_noted_and_goes_on_to_the_handler_of_sigint(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROCESS)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr
