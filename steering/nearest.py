"""The search for the nearest thresholds, where rates cannot all be met by simple iteration.

Shares fall in every threshold. So in a box low <= t <= high of thresholds no category's share is
above that at `low` or below that at `high`, and both corners bound what the box can hold. The
search halves boxes, drops those that cannot beat the best point found (branch and bound), and
shrinks the others by each category's answer to the most and the least that the other thresholds of
the box refuse. It is complete as long as its allowance of boxes lasts.
"""

import math
from collections.abc import Iterator

import numpy as np

from steering.problem import NotQuickError, Problem, Thresholds

BOXES = 200
"""Boxes that one search looks at, at most."""
COMPARISONS = 500_000
"""Scores that one search looks at, about; where there are many, boxes become few."""
FEW_SCORES = 10_000
"""With no more a box takes a millisecond or less."""
SHRINKS = 10
"""Rounds in which one box is shrunk."""
SLIGHT = 1e-9
"""Sums of shares closer than this are equal."""

Box = tuple[Thresholds, Thresholds]


def nearest(problem: Problem, start: Thresholds, *, quick: bool = False) -> Thresholds:
    """Thresholds that refuse enough with the smallest excess; `start` if nothing beats it.

    start: thresholds that refuse enough. Raises NotQuickError, if `quick`, where the search goes on
    behind its first box, with which many a one ends.
    """
    scores = sum(problem.prompts.totals) * len(problem.wanted)
    if quick and scores > FEW_SCORES:
        raise NotQuickError
    search = _Search(problem, start)
    search.run(1 if quick else max(1, min(BOXES, COMPARISONS // max(scores, 1))))
    if quick and not search.complete:
        raise NotQuickError
    return search.best


class _Search:
    """The best thresholds found so far, and the boxes that are left."""

    def __init__(self, problem: Problem, start: Thresholds) -> None:
        self._problem = problem
        self.best, self._excess = start, problem.excess(problem.refused(start))
        order = problem.order(problem.alone())
        self._grids = {category: problem.candidates(category) for category in order}
        low, high = problem.fixed.copy(), problem.fixed.copy()
        for category, grid in self._grids.items():
            low[category], high[category] = float(grid[0]), float(grid[-1])
        self._boxes = [(low, high)]

    @property
    def complete(self) -> bool:
        """Whether nothing better is left to be found."""
        return not self._boxes or self._excess <= SLIGHT

    def run(self, boxes: int) -> None:
        """Look at so many boxes, at most."""
        for _ in range(boxes):
            if self.complete:
                return
            box = self._shrunk(*self._boxes.pop())
            if box is not None and not self._solved_by(*box):
                self._boxes.extend(self._halves(*box))

    def _shrunk(self, low: Thresholds, high: Thresholds) -> Box | None:
        """The part of a box that may hold something better; None if there is none."""
        low, high = low.copy(), high.copy()
        for _ in range(SHRINKS):
            before = low.copy(), high.copy()
            for category in self._grids:
                high[category] = min(high[category], self._problem.answer(category, low))
            if _is_empty(low, high):
                return None
            sure = self._problem.excesses(self._problem.refused(high))
            room = self._excess - SLIGHT - sum(sure.values())
            if room < 0:
                return None
            for category in self._grids:
                low[category] = max(low[category], self._floor(category, high, room, sure))
            if _is_empty(low, high) or not self._problem.enough(self._problem.refused(low)):
                return None
            if before == (low, high):
                break
        return low, high

    def _floor(self, category: int, high: Thresholds, room: float, sure: dict[int, float]) -> float:
        """The lowest threshold of the category whose own excess leaves the box worth a look."""
        prompts, total = self._problem.prompts, self._problem.prompts.totals[category]
        wanted = self._problem.wanted[category] or 0
        allowed = math.floor(wanted + (room + sure[category]) * total + SLIGHT)
        if allowed >= total:
            return -math.inf
        refused = prompts.part(category, prompts.refused(high, but=category))
        rank = 1 + max(allowed - refused.bit_count(), 0)
        grid = self._grids[category]
        own = prompts.own_score(category, rank, refused)
        above = int(np.searchsorted(grid, own, side="right"))
        return float(grid[above]) if above < len(grid) else math.inf

    def _solved_by(self, low: Thresholds, high: Thresholds) -> bool:
        """Notes the corners if they are better; whether the box holds nothing better than them."""
        for corner in (high, low):
            refused = self._problem.refused(corner)
            if self._problem.enough(refused):
                excess = self._problem.excess(refused)
                if excess < self._excess - SLIGHT:
                    self.best, self._excess = corner, excess
                if corner is high:
                    return True
        return False

    def _halves(self, low: Thresholds, high: Thresholds) -> Iterator[Box]:
        """Two boxes, the one of higher thresholds last."""
        widths = {}
        for category, grid in self._grids.items():
            first, last = np.searchsorted(grid, (low[category], high[category]))
            widths[category] = (int(last - first), int(first))
        category = max(widths, key=lambda c: widths[c][0])
        width, first = widths[category]
        if not width:
            return
        middle = first + width // 2
        lower_high, upper_low = high.copy(), low.copy()
        lower_high[category] = float(self._grids[category][middle])
        upper_low[category] = float(self._grids[category][middle + 1])
        yield low, lower_high
        yield upper_low, high


def _is_empty(low: Thresholds, high: Thresholds) -> bool:
    return any(least > most for least, most in zip(low, high, strict=True))
