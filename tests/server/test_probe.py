"""The start-up probe against engines that gate, and engines that do not.

The engine is not under test here, so it is a double; tests/e2e/ starts the real one.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from server.checkpoint import Checkpoint
from server.probe import ProbeError, prove_gate
from steering.wire import RowSettings

Thresholds = list[float] | None


class Engine:
    """Writes the tokens that `write` returns for the thresholds that arrive."""

    def __init__(self, write: Callable[[Thresholds], list[int]], engines: int = 1) -> None:
        self.write = write
        self.seen: list[Thresholds] = []
        self.ranks: list[int | None] = []
        parallel = SimpleNamespace(data_parallel_size=engines, local_engines_only=False)
        self.vllm_config = SimpleNamespace(parallel_config=parallel)
        tokenizer = SimpleNamespace(encode=lambda text, add_special_tokens: [50])  # noqa: ARG005
        self.renderer = SimpleNamespace(get_tokenizer=lambda: tokenizer)

    async def generate(
        self, _prompt: Any, params: Any, _name: str, *, data_parallel_rank: int | None
    ) -> AsyncIterator[Any]:
        self.ranks.append(data_parallel_rank)
        assert params.logprobs is not None, "what ranks them is compiled before clients come"
        settings = RowSettings.from_extra_args(params.extra_args)
        self.seen.append(None if settings is None else list(settings.thresholds))
        yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=self.write(self.seen[-1]))])


def gated(thresholds: Thresholds) -> list[int]:
    assert thresholds is not None
    return [thresholds.index(-math.inf) + 2 if -math.inf in thresholds else 1, 40, 41]


def prove(engine: Engine, checkpoint: Checkpoint) -> None:
    asyncio.run(prove_gate(engine, checkpoint))  # type: ignore[arg-type]


def test_a_gated_engine_passes_every_category_and_an_answer(checkpoint: Checkpoint) -> None:
    engine = Engine(gated)
    prove(engine, checkpoint)
    assert engine.seen == [[-math.inf, math.inf], [math.inf, -math.inf], [math.inf, math.inf]]


def test_every_data_parallel_engine_is_tried(checkpoint: Checkpoint) -> None:
    engine = Engine(gated, engines=2)
    prove(engine, checkpoint)
    assert engine.ranks == [0, 0, 0, 1, 1, 1]
    engine.vllm_config.parallel_config.local_engines_only = True  # vLLM chooses among its own
    engine.ranks.clear()
    prove(engine, checkpoint)
    assert engine.ranks == [None] * 3


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda _: [40, 41], r"a refusal \(safety\)"),
        (lambda _: [2, 40], r"a refusal \(temporal\)"),
        (
            lambda thresholds: [2, 40] if min(thresholds) == math.inf else gated(thresholds),
            "answer",
        ),
        (lambda thresholds: [*gated(thresholds), 3], r"a refusal \(safety\)"),
    ],
    ids=["ignores the gate", "always the same", "never answers", "writes control tokens later"],
)
def test_an_engine_that_does_not_obey_is_found_out(
    write: Callable[[Thresholds], list[int]], what: str, checkpoint: Checkpoint
) -> None:
    with pytest.raises(ProbeError, match=f"{what} was forced.*Not serving"):
        prove(Engine(write), checkpoint)


def test_an_engine_that_writes_nothing_is_found_out(checkpoint: Checkpoint) -> None:
    with pytest.raises(ProbeError, match="no tokens"):
        prove(Engine(lambda _: []), checkpoint)
