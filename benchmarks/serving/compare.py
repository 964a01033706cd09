"""One arm's figures divided by another's, over pairs that were measured in the same repetition."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.serving.cells import NATURAL, WARM_UP
from benchmarks.serving.results import Run
from steering.intervals import LEVEL

METRICS: Mapping[str, str] = {
    "throughput": "tokens a second",
    "ttft": "time to the first piece, ms",
    "first_text": "time to the first token, ms",
    "tpot": "time per further token, ms",
    "e2e": "end to end, ms",
}
"""Figures that are compared and drawn, and what they are."""
COSTS: Mapping[str, str] = {
    "front_cpu": "CPU time of the front end per request, ms",
    "engine_cpu": "CPU time of the engine per token, ms",
}
"""Figures that are compared as well."""
WAITS: Mapping[str, str] = {
    "outside": "in the client, on the connection, and until the prompt is rendered",
    "inside": "from there to the engine, and from the engine back",
    "queue": "in the engine's queue",
    "prefill": "in the engine's batch",
}
"""Where a request waits for its first piece, in milliseconds; these add up."""
FIRST: Mapping[str, str] = {"ttft": "first piece", "first_text": "first token"}
"""Figures that may come a decode step later: the control token's."""
OF_ALL = ("throughput", "e2e", *COSTS)
"""Figures that answers of other lengths change, whatever the server does."""
GOOD = 0.98
"""A ratio of throughputs that is no worse than this is no cost that a user notices."""

NOISY = 0.05
"""From one end of an interval to its middle, in logarithms, beyond which it shows no equality."""
Floats = npt.NDArray[np.float64]
Verdict = Literal["no cost", "a cost", "too noisy to tell"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Estimate:
    """A mean over pairs; its interval is missing where there is one pair."""

    value: float
    low: float | None
    high: float | None
    pairs: int

    def holds(self, value: float) -> bool:
        """Whether the interval contains `value`."""
        return self.low is not None and self.high is not None and self.low <= value <= self.high

    def __str__(self) -> str:
        if self.low is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


Values = Mapping[tuple[str, int], float]
"""By arm and repetition."""


def pairs(values: Values, arm: str, base: str) -> Floats:
    """[n, 2]: what both had in the same repetition, for the n repetitions that have both."""
    found = [
        (value, values[base, repetition])
        for (name, repetition), value in sorted(values.items())
        if name == arm and (base, repetition) in values
    ]
    return np.array(found, dtype=np.float64).reshape(-1, 2)


def ratio(values: Values, arm: str, base: str) -> Estimate | None:
    """The geometric mean of arm / base; None without a pair."""
    both = pairs(values, arm, base)
    found = _mean(np.log(both[:, 0]) - np.log(both[:, 1]))
    return None if found is None else _each(found, math.exp)


def difference(values: Values, arm: str, base: str) -> Estimate | None:
    """The mean of arm - base; None without a pair."""
    both = pairs(values, arm, base)
    return _mean(both[:, 0] - both[:, 1])


def _mean(found: Floats) -> Estimate | None:
    """The mean over repetitions, which are drawn with both their figures."""
    if not len(found):
        return None
    if len(found) == 1:
        return Estimate(float(found[0]), None, None, 1)
    return bootstrapped(np.mean, found)


def bootstrapped(statistic: Callable[..., Any], *data: Floats) -> Estimate:
    """A statistic with its percentile bootstrap interval; data: [n] each, drawn together.

    `statistic` takes as many arrays, and the axis to work along.
    """
    interval = stats.bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=True,
        batch=1000,
        confidence_level=LEVEL,
        method="percentile",
        rng=0,
    ).confidence_interval
    value = float(statistic(*data, axis=-1))
    return Estimate(value, float(interval.low), float(interval.high), len(data[0]))


def _each(found: Estimate, turn: Callable[[float], float]) -> Estimate:
    low, high = (None if end is None else turn(end) for end in (found.low, found.high))
    return Estimate(turn(found.value), low, high, found.pairs)


def cells_of(runs: Sequence[Run]) -> list[str]:
    """The loads of these runs, in their order, without the warm-up."""
    names = dict.fromkeys(name for run in runs for name in run.cells)
    return [name for name in names if name != WARM_UP]


def figures(
    runs: Sequence[Run], cell: str, metric: str, *, refused: bool | None = None
) -> dict[tuple[str, int], float]:
    """One figure of every run that has it."""
    found = {}
    for run in runs:
        if cell in run.cells:
            own = run.cells[cell].figures(refused=refused)
            if metric in own:
                found[run.arm, run.repetition] = own[metric]
    return found


def compared(runs: Sequence[Run], cell: str, metric: str, arm: str, base: str) -> Estimate | None:
    """The ratio of one figure under one load; None where it would say nothing of the servers.

    Where answers end by themselves the arms write others: stock vLLM refuses some that b answers.
    """
    if cell == NATURAL and metric in OF_ALL:
        return None
    return ratio(figures(runs, cell, metric), arm, base)


def later(runs: Sequence[Run], cell: str, metric: str, arm: str, base: str) -> Estimate | None:
    """By how many of the base's decode steps a figure of FIRST is later with the arm.

    A step is what the base takes from its first token, which is the control token, to the second:
    under load it is longer than later ones, since others' prompts share it.
    """
    first, steps = (figures(runs, cell, name) for name in (metric, "step"))
    in_steps = {
        (name, repetition): value / steps[base, repetition]
        for (name, repetition), value in first.items()
        if (base, repetition) in steps
    }
    return difference(in_steps, arm, base)


def shows_no_cost(found: Estimate, floor: Estimate | None) -> bool:
    """Whether a ratio of what should be high shows no cost.

    So it is where its interval contains 1, where it is above GOOD, and where it is no further from
    1 than stock against stock.
    """
    if found.holds(1.0) or found.value > GOOD:
        return True
    return floor is not None and abs(math.log(found.value)) <= _reach(floor)


def verdict(found: Estimate, floor: Estimate | None) -> Verdict:
    """What a ratio of what should be high says, with stock against stock as its noise floor.

    A wide interval contains 1 whatever the truth is: then nothing can be told.
    """
    if not shows_no_cost(found, floor):
        return "a cost"
    noise = max(_reach(found, found.value), 0.0 if floor is None else _reach(floor))
    return "too noisy to tell" if noise > NOISY else "no cost"


def in_time(found: Estimate, steps: float = 1.0) -> Verdict:
    """What a delay says: whether it is at most so many steps."""
    if found.low is None or found.high is None or found.low <= steps < found.high:
        return "too noisy to tell"
    return "no cost" if found.high <= steps else "a cost"


def _reach(estimate: Estimate, origin: float = 1.0) -> float:
    """How far an interval reaches from `origin`, in logarithms."""
    ends = (estimate.value, estimate.low or estimate.value, estimate.high or estimate.value)
    return max(abs(math.log(end / origin)) for end in ends)
