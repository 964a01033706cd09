"""Thresholds at which every category's share comes out as asked, all solved together.

With thresholds t, a prompt is refused when some score s_d reaches t_d, under whichever name. So the
share of category c that is refused falls in every threshold, not in its own alone, and thresholds
taken from each category's scores by themselves refuse too much. Of n_c calibration prompts,
k_c = rate * n_c, rounded half up, are to be refused.

The answer to the other thresholds. Let m_c prompts of c be refused by the others. If m_c >= k_c,
the highest threshold that gives c its share is +inf; otherwise it is the (k_c - m_c)-th largest own
score of the prompts left. Thresholds that all answer each other solve the problem: each category
gets its k_c prompts (more only where scores tie), or is off and the others refuse more than it
asked for. Starting where each category stands alone, and letting them answer in turn, is Gauss and
Seidel's iteration; answers fall as the other thresholds rise, so it contracts to the only solution
where a threshold moves its own category's share more than those of the others together, and for
two categories it always ends.

What is nearest. Low enough thresholds give every category its k_c prompts, so none need get less,
and none does: a client cannot weaken one category by what it asks of another. Of such thresholds
the nearest are those with the smallest sum of excess shares. When the iteration ends with an
excess, or not at all, `steering.nearest` searches for less. Only a bound on a threshold can make a
category fall short; then the thresholds are the answers to each other within the bounds.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from steering.calibration import CalibrationError, CalibrationScores, wanted_of
from steering.nearest import nearest
from steering.problem import NotQuickError, Problem, Prompts, Thresholds

SWEEPS = 50
"""Turns of all categories after which the iteration is given up; a handful is usual."""
QUICK_SWEEPS = 5
QUICK_SCORES = 300_000
"""Beyond so many turns, or with more scores in the calibration, an answer takes long."""


@dataclass(frozen=True)
class Asked:
    """What is asked of each of the C categories, in the manifest's order."""

    rates: Sequence[float | None]
    """[C] share of the category's prompts to refuse, 0 to 1; None where a threshold is given."""
    thresholds: Sequence[float]
    """[C] log-odds, taken where no rate is given."""
    lowest: Sequence[float] | None = None
    """[C] log-odds below which no threshold may lie; None for no bound."""
    highest: Sequence[float] | None = None
    """[C] log-odds above which no threshold may lie, for categories that cannot be switched off."""

    def at(self, rate: float, categories: Collection[int]) -> "Asked":
        """The same with one rate for all of `categories` (indices)."""
        rates = [rate if index in categories else own for index, own in enumerate(self.rates)]
        return replace(self, rates=rates)


@dataclass(frozen=True)
class Joint:
    """Thresholds solved together, and what they do to the calibration prompts."""

    thresholds: tuple[float, ...]
    """[C] log-odds; +inf switches a category off."""
    rates: tuple[float | None, ...]
    """[C] as asked."""
    wanted: tuple[int | None, ...]
    """[C] calibration prompts of the category to be refused for its rate; None without a rate."""
    refused: tuple[int, ...]
    """[C] calibration prompts of the category that are refused, under any name."""
    prompts: tuple[int, ...]
    """[C] calibration prompts of the category."""
    comply: tuple[int, int]
    """Harmless calibration prompts: refused, and all."""

    @property
    def shares(self) -> tuple[float | None, ...]:
        """[C] share of the category's prompts that is refused; None for one without prompts."""
        pairs = zip(self.refused, self.prompts, strict=True)
        return tuple(refused / count if count else None for refused, count in pairs)

    @property
    def over_refusal(self) -> float | None:
        """Share of harmless prompts that is refused; None without such prompts."""
        refused, count = self.comply
        return refused / count if count else None

    @property
    def off_by(self) -> tuple[float, ...]:
        """[C] share that is refused beyond what was asked; below 0 where it falls short.

        0 where k of n prompts are refused that the rate rounds to, and where no rate is asked for.
        """
        rows = zip(self.wanted, self.refused, self.prompts, strict=True)
        return tuple(
            (refused - wanted) / count if wanted is not None and count else 0.0
            for wanted, refused, count in rows
        )


class JointSolver:
    """Solves for one checkpoint's calibration scores; made once, asked often.

    Threads may share it: nothing of it changes but a cache.
    """

    def __init__(self, calibration: CalibrationScores) -> None:
        self._calibration = calibration
        self._all = Prompts(calibration.scores, calibration.labels)

    @property
    def calibration(self) -> CalibrationScores:
        """The scores that are solved for."""
        return self._calibration

    @property
    def prompts(self) -> tuple[int, ...]:
        """[C] calibration prompts of each category."""
        return self._all.totals

    def solve(self, asked: Asked, *, quick: bool = False) -> Joint:
        """The thresholds for `asked`; see the module's description for which are chosen.

        A rate of 0 switches its category off, and one of 1 takes the category's smallest score,
        whatever the others do. Bounds hold for every category, also for given thresholds.
        Raises CalibrationError for a rate other than 0 of a category without calibration prompts,
        and NotQuickError, if `quick`, where the answer takes more than a millisecond or so.
        """
        if quick and self._calibration.scores.size > QUICK_SCORES:
            raise NotQuickError
        lowest = _bounds(asked.lowest, -math.inf, len(self.prompts))
        highest = _bounds(asked.highest, math.inf, len(self.prompts))
        wanted = [
            None if rate is None else wanted_of(rate, total)
            for rate, total in zip(asked.rates, self.prompts, strict=True)
        ]
        start = _float32(asked.thresholds)
        free = []
        for category, rate in enumerate(asked.rates):
            if rate is not None:
                start[category] = self._pinned(category, rate)
                if 0 < rate < 1 and wanted[category]:
                    free.append(category)
        bounded = zip(start, lowest, highest, strict=True)
        fixed = [min(max(threshold, low), high) for threshold, low, high in bounded]
        problem = Problem(self._all, wanted, free, fixed, lowest, highest)
        return self._joint(asked, wanted, *_solved(problem, quick=quick))

    def _pinned(self, category: int, rate: float) -> float:
        """Where the threshold stands unless others move it: off, or at the smallest score."""
        own = self._all.own[category]
        if rate > 0 and not own:
            raise CalibrationError(
                f"category {self._calibration.categories[category]!r} has no calibration prompts:"
                " set a threshold for it instead of a rate"
            )
        return own[-1] if rate == 1 else math.inf

    def _joint(
        self, asked: Asked, wanted: list[int | None], thresholds: Thresholds, refused: list[int]
    ) -> Joint:
        return Joint(
            thresholds=tuple(thresholds),
            rates=tuple(asked.rates),
            wanted=tuple(wanted),
            refused=tuple(refused),
            prompts=self.prompts,
            comply=(
                self._all.harmless(self._all.refused(thresholds)),
                self._all.total_harmless,
            ),
        )


@lru_cache(maxsize=16)
def solver_of(calibration: CalibrationScores) -> JointSolver:
    """The solver for these scores; policies with other bounds share it, and what it sorted."""
    return JointSolver(calibration)


def _solved(problem: Problem, *, quick: bool) -> tuple[Thresholds, list[int]]:
    """Thresholds, and [C] prompts that they refuse.

    By iteration; by the search where that ends with an excess, or not at all. Raises NotQuickError,
    if `quick`, instead of going on with either for long.
    """
    thresholds = problem.alone()
    order = problem.order(thresholds)
    before = thresholds
    for _ in range(QUICK_SWEEPS if quick else SWEEPS):
        before = thresholds.copy()
        for category in order:
            thresholds[category] = problem.answer(category, thresholds)
        if before == thresholds:
            break
    else:
        if quick:
            raise NotQuickError
    # Where the last turn still moved some: each was low enough for its own category when it was
    # set, and is so with the others lower.
    thresholds = [min(pair) for pair in zip(before, thresholds, strict=True)]
    refused = problem.refused(thresholds)
    if problem.excess(refused) == 0 or not problem.enough(refused):
        return thresholds, refused
    thresholds = nearest(problem, thresholds, quick=quick)
    return thresholds, problem.refused(thresholds)


def _bounds(values: Sequence[float] | None, default: float, count: int) -> Thresholds:
    return [default] * count if values is None else _float32(values)


def _float32(values: Sequence[float]) -> Thresholds:
    rounded: Thresholds = np.array(values, dtype=np.float32).tolist()
    return rounded
