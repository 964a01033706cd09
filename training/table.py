"""The table that `demur-calibrate` prints."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from steering.calibration import COMPLY, CalibrationScores
from steering.curves import curve
from steering.gate import decide
from steering.joint import Asked, JointSolver
from steering.settings import probability_of
from training.carry_over import carry_over
from training.records import Record

RATES = (0.25, 0.5, 0.75, 1.0)
"""Rates whose thresholds the table shows."""


def table(scores: CalibrationScores, records: Sequence[Record]) -> Iterator[str]:
    """Lines that say what the calibration found.

    `refused`: the share of the category's prompts that the model refuses by its own habit
    (p >= 0.5). `contrast`: the same share of the harmless prompts that only look like them.
    The thresholds are those with which all categories have the rate, as a probability and as
    log-odds.
    """
    habit = np.zeros(len(scores.categories), dtype=np.float32)
    refused = decide(scores.scores, habit) >= 0
    shares = scores.refused_shares(habit)
    counts = scores.counts()
    known = calibrated(scores)
    off = Asked([0] * len(scores.categories), habit.tolist())
    joints = curve(JointSolver(scores), known, off, RATES)
    width = max(len(name) for name in counts)
    yield (
        f"{'':{width}}  prompts  refused  contrast"
        + "".join(f"{f'threshold at {rate:g}':>22}" for rate in RATES)
    )
    for index, name in enumerate(scores.categories):
        alike = refused[[record.contrast_of == name for record in records]]
        yield (
            f"{name:{width}}  {counts[name]:7}  {_share(shares.get(name)):>7}"
            f"  {_share(float(alike.mean()) if len(alike) else None):>8}"
            + "".join(
                f"{_threshold(joint.thresholds[index]) if index in known else '-':>22}"
                for joint in joints
            )
        )
    yield f"{COMPLY:{width}}  {counts[COMPLY]:7}  {_share(shares.get(COMPLY)):>7}"
    yield "refused: share at the default, p >= 0.5 (for comply: over-refusal);"
    yield "contrast: share of the category's harmless look-alikes refused at the default"
    yield from _shapes(scores, habit)


def _shapes(scores: CalibrationScores, habit: npt.NDArray[np.float32]) -> Iterator[str]:
    """How many prompts have each feature, and what is refused of them."""
    counts = scores.shape_counts()
    if counts is None:
        return
    yield f"shapes: {', '.join(f'{name} {count}' for name, count in counts.items())}"
    rows = carry_over(scores, habit)
    if rows:
        labels = (*scores.categories, COMPLY)
        yield f"{'':8}" + "".join(f"{label:>16}" for label in labels)
    for row in rows:
        cells = (f"{each}{'*' if each.differs else ' '}" for each in row.comparisons)
        yield f"{row.feature:8}" + "".join(f"{cell:>16}" for cell in cells)
    if rows:
        yield "refused at the default with the feature / without it; *: more than chance explains,"
        yield "so that a rate does not carry over"
    if missing := [name for name, count in counts.items() if not count]:
        yield f"no prompts: {', '.join(missing)}; rates are not a promise for such prompts"


def calibrated(scores: CalibrationScores) -> list[int]:
    """Categories that have calibration prompts."""
    counts = scores.counts()
    return [index for index, name in enumerate(scores.categories) if counts[name]]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _threshold(log_odds: float) -> str:
    if log_odds == math.inf:
        return "never"
    return f"{probability_of(log_odds):.3g} ({log_odds:+.2f})"
