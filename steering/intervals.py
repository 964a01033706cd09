"""How sure a share on new prompts is, after calibration on n prompts.

Two cases, both exact for prompts that are drawn alike and whose scores do not tie:

- The threshold is the k-th largest of the n scores. The share of all new prompts that reach it is
  distributed as Beta(k, n + 1 - k), and the number among m new ones as its beta-binomial, whatever
  the scores' distribution (order statistics: David and Nagaraja, 2003, section 2.5).
- The threshold does not depend on these prompts, and x of n reached it: a binomial share, whose
  interval is Clopper and Pearson's (1934), and Thatcher's (1964) for the share among m new prompts.
  It is never narrower than the first.

Joint thresholds of other categories depend on a category's own prompts a little, through their
refusals under other names; given those thresholds the first case is exact.
"""

import math
from dataclasses import dataclass

from scipy import stats

from steering.calibration import wanted_of
from steering.joint import Joint

LEVEL = 0.95
"""Probability with which an interval holds the share."""
SLIGHT_CHANGE = 0.01
"""A rate that moves by no more than this when it is rounded to whole prompts is resolved."""


@dataclass(frozen=True)
class Interval:
    """Bounds of a share, both between 0 and 1."""

    low: float
    high: float

    def __contains__(self, share: float) -> bool:
        return self.low <= share <= self.high


def at_order_statistic(rank: int, prompts: int, new: int | None = None) -> Interval:
    """The share of new prompts that reach the `rank`-th largest of `prompts` scores.

    rank: 1 to `prompts`. new: number of new prompts; None for the share in the long run.
    """
    return _interval((rank, prompts + 1 - rank), (rank, prompts + 1 - rank), new)


def at_fixed_threshold(reached: int, prompts: int, new: int | None = None) -> Interval:
    """The share of new prompts that reach a threshold which `reached` of `prompts` others did.

    new: as above. Without prompts nothing is known: 0 to 1.
    """
    return _interval((reached, prompts - reached + 1), (reached + 1, prompts - reached), new)


def category_intervals(joint: Joint, new: int | None = None) -> tuple[Interval, ...]:
    """[C] the interval of each category's share on new prompts of its own. new: as above."""
    rows = zip(
        joint.thresholds, joint.rates, joint.off_by, joint.refused, joint.prompts, strict=True
    )
    return tuple(
        at_order_statistic(refused, prompts, new)
        if rate is not None and off_by == 0 and math.isfinite(threshold) and refused
        else at_fixed_threshold(refused, prompts, new)
        for threshold, rate, off_by, refused, prompts in rows
    )


def over_refusal_interval(joint: Joint, new: int | None = None) -> Interval:
    """The interval of the share of new harmless prompts that is refused. new: as above."""
    return at_fixed_threshold(*joint.comply, new)


def unresolved(name: str, rate: float, prompts: int) -> str | None:
    """What to tell who asks for a rate that `prompts` calibration prompts cannot resolve.

    That is one that rounding to whole prompts turns into never or always, or moves by more than
    SLIGHT_CHANGE. None if the rate is resolved. prompts: at least 1.
    """
    comes_to = wanted_of(rate, prompts) / prompts
    turned = comes_to in (0, 1) and comes_to != rate
    if not turned and abs(comes_to - rate) <= SLIGHT_CHANGE:
        return None
    return (
        f"a rate of {rate:g} for {name!r} is finer than its {prompts} calibration prompts resolve:"
        f" it comes out as {comes_to:.3g}. Calibrate with at least"
        f" {prompts_needed(rate)}."
    )


def prompts_needed(rate: float) -> int:
    """From how many calibration prompts on a rate between 0 and 1 is resolved, always."""
    # More than half a prompt between the rate and never or always, and half a prompt slight.
    # Rounded first: 1 - 0.999 is a little more than 0.001.
    return math.floor(round(0.5 / min(rate, 1 - rate, SLIGHT_CHANGE), 6)) + 1


def _interval(low: tuple[int, int], high: tuple[int, int], new: int | None) -> Interval:
    """Between the lower tail of Beta(*low) and the upper of Beta(*high), or of their binomials."""
    tail = (1 - LEVEL) / 2

    def quantile(probability: float, shape: tuple[int, int]) -> float:
        if new is None:
            return float(stats.beta.ppf(probability, *shape))
        return float(stats.betabinom.ppf(probability, new, *shape)) / new

    # A Beta without successes lies at 0, one without failures at 1.
    return Interval(
        quantile(tail, low) if low[0] else 0.0,
        quantile(1 - tail, high) if high[1] else 1.0,
    )
