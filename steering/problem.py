"""The problem behind rates: how many prompts each category's thresholds refuse, and should.

Shares are taken over a category's own calibration prompts, whichever name they are refused under.
So each of them falls in every category's threshold.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from steering.calibration import COMPLY_INDEX

Floats = npt.NDArray[np.float32]
Thresholds = list[float]
"""[C] log-odds, each of them a float32's value."""

CACHED_BYTES = 2**24
"""What the sets of prompts may take, about, that are kept for the next thresholds."""
ENTRY_BYTES = 200
"""Of each of them, beside its bits."""


class NotQuickError(Exception):
    """Raised instead of an answer that takes more than a millisecond or so."""


class Prompts:
    """N calibration prompts: those of C categories, one after another, then the harmless ones.

    Those of a category stand in the order in which their own scores fall. A set of prompts is an
    int: bit i is set if the i-th is in it. Thresholds come back, and Python joins and counts such
    sets in less time than NumPy needs to be called.
    """

    def __init__(self, scores: Floats, labels: npt.NDArray[np.int64]) -> None:
        """scores: [N, C], in any order; labels: [N] categories, COMPLY_INDEX for harmless ones."""
        # A threshold of +inf is off: no score may reach it.
        capped = np.minimum(scores, np.finfo(np.float32).max).astype(np.float32)
        order = []
        self.own: list[list[float]] = []
        """[C] of each category the own scores, falling."""
        for category in range(scores.shape[1]):
            (indices,) = np.nonzero(labels == category)
            own = capped[indices, category]
            falling = np.argsort(-own, kind="stable")
            order.append(indices[falling])
            self.own.append(own[falling].tolist())
        order.append(np.nonzero(labels == COMPLY_INDEX)[0])
        self.totals = tuple(map(len, self.own))
        """[C] prompts of each category."""
        self.total_harmless = len(order[-1])
        self.starts = tuple(itertools.accumulate(self.totals, initial=0))
        """[C + 1] where each category begins; at last the harmless ones."""
        self.scores: Floats = np.ascontiguousarray(capped[np.concatenate(order)].T)
        """[C, N]"""
        kept = CACHED_BYTES // (ENTRY_BYTES + len(labels) // 8)
        self._reaching = lru_cache(max(kept, 1))(self._look_up)

    def _look_up(self, category: int, threshold: float) -> int:
        """The set of those whose score of `category` reaches `threshold`."""
        bits = np.packbits(self.scores[category] >= threshold, bitorder="little")
        return int.from_bytes(bits.tobytes(), "little")

    def refused(self, thresholds: Thresholds, *, but: int | None = None) -> int:
        """The set of those that the thresholds refuse, under any name but category `but`'s."""
        found = 0
        for category, threshold in enumerate(thresholds):
            if category != but and threshold != math.inf:
                found |= self._reaching(category, threshold)
        return found

    def part(self, category: int, prompts: int) -> int:
        """Of a set the prompts of one category: bit i is the one with the i-th own score."""
        return (prompts >> self.starts[category]) & ((1 << self.totals[category]) - 1)

    def counts(self, prompts: int) -> list[int]:
        """[C] how many of each category are in a set."""
        return [self.part(category, prompts).bit_count() for category in range(len(self.totals))]

    def harmless(self, prompts: int) -> int:
        """How many harmless ones are in a set."""
        return (prompts >> self.starts[-1]).bit_count()

    def own_score(self, category: int, rank: int, refused: int) -> float:
        """The own score of the category's `rank`-th prompt, from 1 on, that is not refused.

        refused: a part, as `part` returns it. +inf for ranks below 1; there must be so many left.
        """
        if rank < 1:
            return math.inf
        index = before = rank - 1
        # It stands behind `before` others that are left, and behind those refused up to there.
        while index != (later := before + (refused & ((2 << index) - 1)).bit_count()):
            index = later
        return self.own[category][index]


@dataclass(frozen=True, eq=False)
class Problem:
    """Thresholds to be found for some of C categories, the others' being fixed."""

    prompts: Prompts
    wanted: Sequence[int | None]
    """[C] prompts to be refused; None where it does not matter."""
    free: Sequence[int]
    """Categories whose thresholds are to be found."""
    fixed: Thresholds
    """Of the others; those of free categories do not matter."""
    lowest: Thresholds
    highest: Thresholds
    """Bounds of the thresholds."""

    def answer(self, category: int, thresholds: Thresholds) -> float:
        """The highest threshold that refuses enough of the category, given the other thresholds."""
        refused = self.prompts.refused(thresholds, but=category)
        return self._enough_with(category, self.prompts.part(category, refused))

    def _enough_with(self, category: int, refused: int) -> float:
        """The highest threshold that refuses enough where the part `refused` is refused already."""
        rank = (self.wanted[category] or 0) - refused.bit_count()
        threshold = self.prompts.own_score(category, rank, refused)
        return min(max(threshold, self.lowest[category]), self.highest[category])

    def alone(self) -> Thresholds:
        """Thresholds with which each free category gets enough if the others refuse nothing."""
        thresholds = self.fixed.copy()
        for category in self.free:
            thresholds[category] = self._enough_with(category, 0)
        return thresholds

    def order(self, alone: Thresholds) -> list[int]:
        """The free categories in an order that depends on their data, not on their places.

        alone: what `alone` returns.
        """
        totals = self.prompts.totals
        return sorted(self.free, key=lambda c: ((self.wanted[c] or 0) / totals[c], alone[c]))

    def refused(self, thresholds: Thresholds) -> list[int]:
        """[C] prompts of each category that the thresholds refuse."""
        return self.prompts.counts(self.prompts.refused(thresholds))

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
        rows = zip(self.prompts.totals, self.wanted, refused, strict=True)
        return {
            category: max(count - wanted, 0) / total
            for category, (total, wanted, count) in enumerate(rows)
            if wanted is not None and total
        }

    def candidates(self, category: int) -> Floats:
        """[m] thresholds of the category, rising, between which nothing changes."""
        starts = self.prompts.starts
        scores = [
            self.prompts.scores[category, starts[other] : starts[other + 1]]
            for other, wanted in enumerate(self.wanted)
            if wanted is not None
        ]
        values = np.concatenate([*scores, [np.float32(math.inf)]])
        return np.unique(values.clip(self.lowest[category], self.highest[category]))
