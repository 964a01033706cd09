"""Do rates come out as asked on prompts that nobody calibrated on? Tried on a part held out.

The calibration's own prompts are split: thresholds are solved on one part and tried on the other,
all categories at once. The checkpoint's calibration keeps all of them, so what it serves is a
little surer than what is tried here.
"""

from dataclasses import dataclass

import numpy as np

from steering.calibration import CalibrationScores
from steering.intervals import Interval, category_intervals
from steering.joint import Asked, JointSolver

HELD_OUT = 3
"""One prompt in so many is held out."""
TRIED = tuple(step / 10 for step in range(1, 10))
"""Rates that are tried."""


@dataclass(frozen=True)
class Cell:
    """One rate of one category, tried on prompts that were held out."""

    category: str
    rate: float
    """As asked."""
    share: float
    """As it came out."""
    interval: Interval
    """Where 95% of such shares lie, given how few prompts there were on either side."""

    @property
    def inside(self) -> bool:
        """Whether the share is where the interval says."""
        return self.share in self.interval


def split(calibration: CalibrationScores) -> tuple[CalibrationScores, CalibrationScores]:
    """Two thirds and a third of every label's prompts, drawn by a fixed seed."""
    shuffled = np.random.default_rng(0).permutation(len(calibration.labels))
    place = np.empty(len(shuffled), dtype=np.int64)
    for label in np.unique(calibration.labels):
        own = shuffled[calibration.labels[shuffled] == label]
        place[own] = np.arange(len(own))
    held_out = place % HELD_OUT == HELD_OUT - 1
    return calibration.only(~held_out), calibration.only(held_out)


def reliability(calibration: CalibrationScores) -> tuple[Cell, ...]:
    """Every category at every rate of TRIED; categories with fewer than HELD_OUT prompts are off.

    Empty if there is no category with enough prompts.
    """
    known, tried = split(calibration)
    counts = tried.counts()
    names = calibration.categories
    solver = JointSolver(known)
    cells = []
    for rate in TRIED:
        joint = solver.solve(
            Asked([rate if counts[name] else 0 for name in names], [0] * len(names))
        )
        shares = tried.refused_shares(joint.thresholds)
        for index, name in enumerate(names):
            if counts[name]:
                interval = category_intervals(joint, counts[name])[index]
                cells.append(Cell(name, rate, shares[name], interval))
    return tuple(cells)


def mean_error(cells: tuple[Cell, ...]) -> float:
    """Mean absolute difference of the rates asked for and the shares that came out."""
    return float(np.mean([abs(cell.share - cell.rate) for cell in cells]))
