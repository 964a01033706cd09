import math

import numpy as np
import pytest

from steering.calibration import CalibrationError, CalibrationScores
from steering.curves import RANGE, curve
from steering.joint import Asked, JointSolver

SOLVER = JointSolver(
    CalibrationScores(
        ("c0", "c1"),
        np.array([0, 0, 1, -1, -1]),
        np.array([[2, 0], [1, 0], [0, 2], [1.5, 0], [0, 3]], dtype=np.float32),
    )
)


def test_of_all_categories_together() -> None:
    points = curve(SOLVER, [0, 1], Asked([None, None], [0, 0]), [0, 0.5, 1])
    assert [point.over_refusal for point in points] == [0, 0.5, 1]
    assert points[1].thresholds == (2, 2)


def test_of_one_category_while_another_is_off() -> None:
    points = curve(SOLVER, [0], Asked([0, 0], [0, 0]))
    assert len(points) == len(RANGE)
    assert (RANGE[0], RANGE[-1]) == (0, 1)
    assert {point.thresholds[1] for point in points} == {math.inf}
    assert [points[0].shares[0], points[10].shares[0], points[20].shares[0]] == [0, 0.5, 1]


def test_of_a_category_without_prompts() -> None:
    empty = JointSolver(
        CalibrationScores(("c0",), np.empty(0, np.int64), np.empty((0, 1), np.float32))
    )
    with pytest.raises(CalibrationError, match="'c0'"):
        curve(empty, [0], Asked([0], [0]))
