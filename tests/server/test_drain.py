"""The signal is real, so it is sent in a process of its own."""

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from server import drain
from server.drain import DrainGuard

PROCESS = """
import asyncio, os, signal, sys
from types import SimpleNamespace
import uvloop
from starlette.datastructures import State
from server import drain

async def main(name):
    state, stopped = State(), asyncio.Event()
    preparing = asyncio.create_task(drain.prepare(state))
    await asyncio.sleep(0)
    number = getattr(signal, name)
    asyncio.get_running_loop().add_signal_handler(number, stopped.set)  # as vLLM does, later
    config = SimpleNamespace(timeout_graceful_shutdown=None)
    state.server = SimpleNamespace(started=True, config=config)
    await preparing
    assert config.timeout_graceful_shutdown == drain.READING_S
    assert not drain.stopping()
    os.kill(os.getpid(), number)
    await stopped.wait()
    assert drain.stopping()
    print("stopped")

runner = uvloop.run if sys.argv[1] == "uvloop" else asyncio.run
runner(main(sys.argv[2]))
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


def test_behind_it_requests_are_sent_elsewhere(
    served: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "_stopping", threading.Event())
    drain._stopping.set()
    client = TestClient(served)
    for path in ("/health", "/v1/chat/completions"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["connection"] == "close"
        assert "to another one" in answer.json()["error"]["message"]
    assert client.get("/metrics").status_code == 200
    behind_a_proxy = TestClient(served, root_path="/api")
    assert behind_a_proxy.get("/metrics").status_code == 200


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_signal_is_noted_and_handled_as_before(tmp_path: Path, loop: str, name: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROCESS)
    command = [sys.executable, str(script), loop, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr


class Engine:
    """As much of vLLM's client as is asked: one request ends with each look at it."""

    def __init__(self, api_servers: int, unfinished: int) -> None:
        config = SimpleNamespace(_api_process_count=api_servers)
        self.vllm_config = SimpleNamespace(parallel_config=config)
        self.unfinished = unfinished
        self.left: list[int] = []

    errored = False

    def get_num_unfinished_requests(self) -> int:
        self.unfinished -= 1
        return self.unfinished

    def shutdown(self, timeout: float | None = None) -> None:
        assert timeout is not None
        self.left.append(self.unfinished)


@pytest.mark.parametrize(("api_servers", "timeout", "left"), [(2, 60, 0), (2, 0, 2), (1, 60, 3)])
def test_one_of_several_api_servers_finishes_what_it_has(
    api_servers: int, timeout: int, left: int
) -> None:
    engine = Engine(api_servers, unfinished=3)
    drain.finish_first(engine)
    engine.shutdown(timeout=timeout)
    assert engine.left == [left]


def test_nobody_waits_for_an_engine_that_died() -> None:
    engine = Engine(2, unfinished=3)
    engine.errored = True
    drain.finish_first(engine)
    engine.shutdown(timeout=60)
    assert engine.left == [2]
