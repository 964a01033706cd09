"""Refusing as much as possible with at most a given share of harmless prompts refused.

One rate stands for all the categories asked for, so that none pays for another: it is raised until
the next step would refuse more harmless prompts than the budget allows. Steps are the rates at
which some category refuses one calibration prompt more, and each is solved jointly. They are
bisected, which takes the harmless prompts that are refused to grow with the rate. Where they do not
quite (thresholds answer each other), the budget is kept all the same, and the rate is one whose
next step exceeds it.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from steering.calibration import CalibrationError
from steering.joint import Asked, Joint, JointSolver

SLIGHT = 1e-9
"""Shares closer than this are equal."""


@dataclass(frozen=True)
class Budgeted:
    """The most that a budget on over-refusal allows."""

    joint: Joint
    rate: float
    """Common rate of the categories asked for, which asked for by itself gives the same thresholds;
    0 if the budget leaves nothing for them."""
    kept: bool
    """False if the other categories' thresholds alone refuse more than the budget."""


def spend(solver: JointSolver, budget: float, categories: Collection[int], rest: Asked) -> Budgeted:
    """The largest common rate of `categories` with at most the share `budget` of harmless refused.

    budget: 0 to 1, of the harmless calibration prompts. categories: indices, of those that have
    calibration prompts. rest: what the other categories are asked for, and everybody's bounds; what
    it says of `categories` does not matter.
    Raises CalibrationError if there are no harmless calibration prompts, or a category has none.
    """

    def at(rate: float) -> Joint:
        return solver.solve(rest.at(rate, categories))

    def within(joint: Joint) -> bool:
        return (joint.over_refusal or 0) <= budget + SLIGHT

    solved = at(0)
    if solved.over_refusal is None:
        raise CalibrationError(
            "there are no harmless calibration prompts to hold a budget on over-refusal against"
        )
    if not within(solved):
        return Budgeted(solved, 0.0, kept=False)
    steps = _steps([solved.prompts[category] for category in categories])
    # Within the budget at steps[low], and not at steps[high], or that is past the end.
    low, high = 0, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        candidate = at(steps[middle])
        if within(candidate):
            low, solved = middle, candidate
        else:
            high = middle
    return Budgeted(solved, steps[low], kept=True)


def _steps(counts: Collection[int]) -> list[float]:
    """0, and a rate for every set of numbers of prompts that rates refuse of these `counts`.

    With n prompts, rounding turns half way between k and k + 1. Between two such turns, of any of
    the counts, one rate is as good as another: the middle is taken.
    """
    turns = [(np.arange(1, count + 1) - 0.5) / count for count in counts]
    edges = np.unique(np.concatenate([*turns, [1.0]]).round(12))
    return [0.0, *((edges[:-1] + edges[1:]) / 2).tolist()]
