import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import torch
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.gate_steps import config
from benchmarks.serving.arms import IN_SHARED, NAMES
from benchmarks.serving.cli import options
from benchmarks.serving.shared import Sides
from benchmarks.switch import Switch, SwitchedWorker
from steering.v1 import RefusalGate


class Engine:
    """Stands for vLLM's client of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[bool, ...]]] = []

    async def collective_rpc(self, method: str, args: tuple[bool, ...]) -> None:
        self.calls.append((method, args))


def application(name: str) -> Starlette:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{name} {request.url.path}")

    return Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])


def test_each_side_is_asked_under_its_own_path() -> None:
    asyncio.run(ask_each_side(Engine()))


async def ask_each_side(engine: Engine) -> None:
    sides = Sides(application("ours"), application("stock"), engine)
    transport = httpx.ASGITransport(sides)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        path = "/v1/chat/completions"
        assert (await client.post(path)).text == f"ours {path}"
        assert (await client.post(f"/stock{path}")).text == f"stock {path}"
        assert engine.calls == []
        assert [(await client.post(f"/gate/{where}")).text for where in ("out", "in")] == [
            "out",
            "in",
        ]
        assert engine.calls == [("set_gated", (False,)), ("set_gated", (True,))]


@pytest.fixture
def batch() -> Any:
    gate = RefusalGate(config(), torch.device("cpu"), is_pin_memory=False)
    processors = SimpleNamespace(non_argmax_invariant=["vLLM's own", gate])
    return SimpleNamespace(logitsprocs=processors, logitsprocs_need_output_token_ids=True)


def test_the_gate_is_taken_out_and_put_in(batch: Any) -> None:
    worker = SwitchedWorker()
    worker.model_runner = SimpleNamespace(input_batch=batch)
    gate = Switch(batch).gate
    for gated in (False, False, True, True):
        worker.set_gated(gated)
        assert batch.logitsprocs.non_argmax_invariant == ["vLLM's own", gate][: 1 + gated]
        assert batch.logitsprocs_need_output_token_ids is gated


def test_one_server_is_some_of_the_arms(
    of_checkpoint: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shared = [*of_checkpoint, "--shared"]
    assert options(of_checkpoint).arms == NAMES
    assert options(shared).arms == IN_SHARED
    assert options([*shared, "--arms", "b", "a"]).under_load == ["a", "b"]
    with pytest.raises(SystemExit):
        options([*shared, "--arms", "a", "e"])
    assert "--shared is for the arms a, a2, b, c" in capsys.readouterr().err
