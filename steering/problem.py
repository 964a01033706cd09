"""The problem behind rates: how many prompts each category's thresholds refuse, and should.

Shares are taken over a category's own calibration prompts, whichever name they are refused under.
So each of them falls in every category's threshold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class NotQuickError(Exception):
    """Raised instead of an answer that takes more than a millisecond or so."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """The scores of one category's calibration prompts."""

    category: int
    scores: Floats
    """[C, n], ordered so that the category's own row falls."""

    @classmethod
    def sorted_by(cls, scores: Floats, category: int) -> Self:
        """From scores [n, C] in any order."""
        # A threshold of +inf is off: no score may reach it.
        capped = np.minimum(scores, np.finfo(np.float32).max).astype(np.float32)
        order = np.argsort(-capped[:, category], kind="stable")
        return cls(category, np.ascontiguousarray(capped[order].T))

    @property
    def own(self) -> Floats:
        """[n] the category's own scores, falling."""
        row: Floats = self.scores[self.category]
        return row

    @property
    def count(self) -> int:
        """n, the number of prompts."""
        return int(self.scores.shape[1])

    def refused(self, thresholds: Floats) -> int:
        """How many the thresholds [C] refuse, under any name."""
        reached = self.scores >= thresholds[:, None]
        return int(np.count_nonzero(np.logical_or.reduce(reached)))

    def left_over(self, thresholds: Floats) -> Floats:
        """[m] own scores, falling, of those that the other categories' thresholds leave."""
        reached = self.scores >= thresholds[:, None]
        reached[self.category] = False
        left: Floats = self.own[~np.logical_or.reduce(reached)]
        return left


@dataclass(frozen=True, eq=False)
class Problem:
    """Thresholds to be found for some of C categories, the others' being fixed."""

    groups: Sequence[Prompts]
    """[C]"""
    wanted: Sequence[int | None]
    """[C] prompts to be refused; None where it does not matter."""
    free: Sequence[int]
    """Categories whose thresholds are to be found."""
    fixed: Floats
    """[C] thresholds of the others; those of free categories do not matter."""
    lowest: Floats
    highest: Floats
    """[C] bounds of the thresholds."""

    def answer(self, category: int, thresholds: Floats) -> float:
        """The highest threshold that refuses enough of the category, given the other thresholds."""
        group, wanted = self.groups[category], self.wanted[category] or 0
        left = group.left_over(thresholds)
        return self._reached_by(category, left, wanted - (group.count - len(left)))

    def _reached_by(self, category: int, left: Floats, count: int) -> float:
        """The highest threshold of the category that `count` of the own scores `left` reach."""
        threshold = float(left[count - 1]) if count > 0 else math.inf
        return min(max(threshold, float(self.lowest[category])), float(self.highest[category]))

    def alone(self) -> Floats:
        """[C] thresholds with which each free category gets enough if the others refuse nothing."""
        thresholds = self.fixed.copy()
        for category in self.free:
            own, wanted = self.groups[category].own, self.wanted[category] or 0
            thresholds[category] = self._reached_by(category, own, wanted)
        return thresholds

    def order(self, alone: Floats) -> list[int]:
        """The free categories in an order that depends on their data, not on their places.

        alone: what `alone` returns.
        """
        return sorted(
            self.free,
            key=lambda c: ((self.wanted[c] or 0) / self.groups[c].count, float(alone[c])),
        )

    def refused(self, thresholds: Floats) -> list[int]:
        """[C] prompts of each category that the thresholds [C] refuse."""
        return [group.refused(thresholds) for group in self.groups]

    def enough(self, refused: Sequence[int]) -> bool:
        """Whether no category gets less than is wanted; refused: [C]."""
        return all(
            wanted is None or count >= wanted
            for wanted, count in zip(self.wanted, refused, strict=True)
        )

    def excess(self, refused: Sequence[int]) -> float:
        """The sum of the shares that are refused beyond what is wanted; refused: [C]."""
        return sum(self.excesses(refused).values())

    def excesses(self, refused: Sequence[int]) -> dict[int, float]:
        """The share refused beyond what is wanted, by category with something wanted."""
        rows = zip(self.groups, self.wanted, refused, strict=True)
        return {
            category: max(count - wanted, 0) / group.count
            for category, (group, wanted, count) in enumerate(rows)
            if wanted is not None and group.count
        }

    def candidates(self, category: int) -> Floats:
        """[m] thresholds of the category, rising, between which nothing changes."""
        scores = [
            group.scores[category]
            for group, wanted in zip(self.groups, self.wanted, strict=True)
            if wanted is not None
        ]
        values = np.concatenate([*scores, [np.float32(math.inf)]])
        return np.unique(values.clip(self.lowest[category], self.highest[category]))
