"""Does a rate carry over to prompts of another shape? Shares refused with a feature and without."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steering.calibration import COMPLY_INDEX, CalibrationScores
from steering.gate import decide
from steering.intervals import at_fixed_threshold
from steering.shapes import FEATURES


@dataclass(frozen=True)
class Side:
    """Calibration prompts of one label, with a feature or without it."""

    refused: int
    prompts: int

    def __str__(self) -> str:
        return f"{self.refused / self.prompts:.0%}" if self.prompts else "-"


@dataclass(frozen=True)
class Comparison:
    """One label's prompts with a feature beside those without it, at the same thresholds."""

    having: Side
    others: Side

    @property
    def differs(self) -> bool:
        """Whether the 95% intervals of the two shares are apart: more than chance explains."""
        one, other = (
            at_fixed_threshold(side.refused, side.prompts) for side in (self.having, self.others)
        )
        return one.low > other.high or other.low > one.high

    def __str__(self) -> str:
        return f"{self.having} / {self.others}"


@dataclass(frozen=True)
class CarryOver:
    """One feature's comparisons: by category in their order, then of harmless prompts."""

    feature: str
    prompts: int
    """That have it."""
    comparisons: tuple[Comparison, ...]


def carry_over(scores: CalibrationScores, thresholds: npt.ArrayLike) -> list[CarryOver]:
    """Every feature that some prompts have and others have not.

    thresholds: [C] log-odds. Empty where the scores' shapes are not known.
    """
    if scores.shapes is None:
        return []
    refused = decide(scores.scores, np.asarray(thresholds, dtype=np.float32)) >= 0
    found = []
    for feature, bit in FEATURES.items():
        having = scores.shapes & bit > 0
        if having.any() and not having.all():
            comparisons = tuple(
                Comparison(_side(refused, own & having), _side(refused, own & ~having))
                for own in _labels(scores)
            )
            found.append(CarryOver(feature, int(having.sum()), comparisons))
    return found


def _side(refused: npt.NDArray[np.bool_], rows: npt.NDArray[np.bool_]) -> Side:
    return Side(int(refused[rows].sum()), int(rows.sum()))


def _labels(scores: CalibrationScores) -> Iterator[npt.NDArray[np.bool_]]:
    for index in (*range(len(scores.categories)), COMPLY_INDEX):
        yield scores.labels == index
