import asyncio

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from server.flags import Sample
from server.judge import Judgement
from server.metrics import Metrics
from server.turn import Turn
from server.watch import LOOK_EVERY, Watch
from steering.calibration import CalibrationScores
from steering.drift import FEWEST
from steering.manifest import Scope
from steering.settings import Steering
from steering.tokens import ControlTokens

NAMES = ("safety", "temporal")
STEERING = Steering((0.0, 0.0), {"safety": 0.75, "temporal": 0.5}, 0.02)


def drawn(count: int, seed: int, shift: float = 0.0) -> np.ndarray[tuple[int, int], np.dtype]:
    return np.random.default_rng(seed).normal(shift, 2, size=(count, 2)).astype(np.float32)


CALIBRATION = CalibrationScores(NAMES, np.arange(1000) % 3 - 1, drawn(1000, 1))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def watch(registry: CollectorRegistry) -> Watch:
    return Watch(NAMES, CALIBRATION, Metrics(NAMES, registry), Sample(0.5))


def feed(watch: Watch, scores: np.ndarray[tuple[int, int], np.dtype]) -> None:
    async def add() -> None:
        for row in scores:
            # Refused from p = 0.5 on.
            category = int(row.argmax()) if row.max() >= 0 else None
            await watch.add(Judgement(category, tuple(map(float, row))), STEERING)

    asyncio.run(add())


def index(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("demur_drift_index", {"category": "safety"})


def test_prompts_like_the_calibrations_raise_no_alarm(
    registry: CollectorRegistry, log: list[str]
) -> None:
    metrics = Metrics(NAMES, registry)
    for seed in range(20):
        feed(Watch(NAMES, CALIBRATION, metrics, Sample(1.0)), drawn(300, seed + 10))
    assert log == []
    assert 0 < (index(registry) or 0) < 0.2


def test_prompts_that_changed_raise_one(
    watch: Watch, registry: CollectorRegistry, log: list[str]
) -> None:
    feed(watch, drawn(300, 2, shift=1.5))
    assert (index(registry) or 0) > 0.25
    assert len(log) == len(NAMES)
    assert "the scores of safety have a population stability index of" in log[0]


def test_nothing_is_said_of_few_prompts(watch: Watch, registry: CollectorRegistry) -> None:
    feed(watch, drawn(FEWEST - 1, 2, shift=1.5))
    assert index(registry) is None


def test_rates_are_those_of_the_prompts_that_the_model_puts_there(
    watch: Watch, registry: CollectorRegistry
) -> None:
    scores = np.tile(np.array([[3, -5], [-5, 3], [-5, -5]], dtype=np.float32), (LOOK_EVERY, 1))
    feed(watch, scores)
    requested, realised = (
        registry.get_sample_value(f"demur_{kind}_rate", {"category": "safety"})
        for kind in ("requested", "realised")
    )
    assert (requested, realised) == (0.75, 1.0)
    assert registry.get_sample_value("demur_over_refusal") == pytest.approx(0.02)


@pytest.mark.parametrize(("scope", "realised"), [("first_token", 1.0), ("every_token", None)])
def test_rates_are_of_the_first_token(
    watch: Watch, registry: CollectorRegistry, scope: Scope, realised: float | None
) -> None:
    turn = Turn(STEERING, ControlTokens(1, (2, 3)), scope)

    async def run() -> None:
        for _ in range(LOOK_EVERY):
            watch.look(Judgement(0, (3.0, -5.0)), turn)
        await asyncio.sleep(0.01)

    asyncio.run(run())
    own = {"category": "safety"}
    assert registry.get_sample_value("demur_score_count", own) == LOOK_EVERY
    assert registry.get_sample_value("demur_realised_rate", own) == realised


def test_is_served_without_a_calibration(registry: CollectorRegistry) -> None:
    feed(Watch(NAMES, None, Metrics(NAMES, registry), Sample(1.0)), drawn(LOOK_EVERY, 3))
    assert index(registry) is None
    assert registry.get_sample_value("demur_score_count", {"category": "safety"}) == LOOK_EVERY


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, 50)])
def test_draws_its_share(registry: CollectorRegistry, share: float, expected: int) -> None:
    watch = Watch(NAMES, None, Metrics(NAMES, registry), Sample(share))
    assert sum(watch.draw() for _ in range(50)) == expected


def test_a_busy_server_draws_one_and_pauses(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(NAMES, None, Metrics(NAMES, registry), Sample(1.0, pause_s=10))
    clock = iter([100.0, 100.1, 109.9, 110.0, 119.9])
    monkeypatch.setattr("server.watch.monotonic", lambda: next(clock))
    assert [watch.draw() for _ in range(5)] == [True, False, False, True, False]


def test_a_prompt_that_cannot_be_judged_is_counted_and_nothing_else(
    watch: Watch, registry: CollectorRegistry
) -> None:
    async def fails() -> Judgement:
        raise RuntimeError("the engine is gone")

    async def run() -> None:
        watch.look(fails(), Turn(STEERING, ControlTokens(1, (2, 3))))
        await asyncio.sleep(0.01)

    asyncio.run(run())
    assert registry.get_sample_value("demur_score_failures_total") == 1
