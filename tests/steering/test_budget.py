import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from steering.budget import spend
from steering.calibration import COMPLY_INDEX, CalibrationError, CalibrationScores
from steering.joint import Asked, JointSolver

HABIT = Asked([None, None], [0.0, 0.0])


def solver(labels: list[int], scores: object) -> JointSolver:
    values = np.array(scores, dtype=np.float32).reshape(len(labels), 2)
    return JointSolver(CalibrationScores(("c0", "c1"), np.array(labels, dtype=np.int64), values))


BY_HAND = solver(
    [0, 0, 0, 0, 1, 1, COMPLY_INDEX, COMPLY_INDEX, COMPLY_INDEX, COMPLY_INDEX],
    [
        *[[4, -9], [3, -9], [2, -9], [1, -9], [-9, 4], [-9, 2]],
        *[[2.5, -9], [-9, 3], [1.5, -9], [-9, -9]],
    ],
)


class TestByHand:
    @pytest.mark.parametrize(
        ("budget", "thresholds", "refused"),
        [
            # A rate of 0.5: half of each.
            (0, (3.0, 4.0), 0),
            # From a rate of 0.625 on a third of c0 is refused, and from 0.75 on the second of c1.
            (0.25, (2.0, 4.0), 1),
            (0.74, (2.0, 2.0), 2),
            (0.75, (1.0, 2.0), 3),
            (1, (1.0, 2.0), 3),
        ],
    )
    def test_one_rate_for_all(
        self, budget: float, thresholds: tuple[float, ...], refused: int
    ) -> None:
        spent = spend(BY_HAND, budget, [0, 1], HABIT)
        assert spent.kept
        assert spent.joint.thresholds == thresholds
        assert spent.joint.comply == (refused, 4)
        assert spent.joint.off_by == (0, 0)

    def test_the_others_keep_what_they_are_asked_for(self) -> None:
        spent = spend(BY_HAND, 0.25, [0], Asked([None, 0.5], [0.0, 0.0]))
        assert spent.joint.thresholds == (2.0, 4.0)

    def test_others_may_exceed_it_alone(self) -> None:
        spent = spend(BY_HAND, 0.25, [0], Asked([None, None], [0.0, -math.inf]))
        assert not spent.kept
        assert spent.rate == 0
        assert spent.joint.thresholds == (math.inf, -math.inf)
        assert spent.joint.over_refusal == 1

    def test_bounds_hold(self) -> None:
        spent = spend(BY_HAND, 1, [0, 1], Asked([None, None], [0, 0], lowest=[2.5, -9]))
        assert spent.joint.thresholds == (2.5, 2.0)

    def test_without_harmless_prompts_there_is_no_budget(self) -> None:
        with pytest.raises(CalibrationError, match="no harmless calibration prompts"):
            spend(solver([0], [1, 1]), 0.1, [0], HABIT)

    def test_a_category_without_prompts_has_no_rate(self) -> None:
        with pytest.raises(CalibrationError, match="'c1' has no calibration prompts"):
            spend(solver([0, -1], [[1, 1], [0, 0]]), 0.1, [0, 1], HABIT)

    def test_nothing_asked_for_is_nothing_refused(self) -> None:
        spent = spend(BY_HAND, 0.5, [], Asked([0, 0], [0, 0]))
        assert spent.rate == 0
        assert spent.joint.over_refusal == 0


class TestProperties:
    @given(st.integers(0, 2**32 - 1), st.floats(0, 1))
    @example(3018, 0.3125)  # further on, it would be kept again
    def test_the_next_step_is_over_the_budget(self, seed: int, budget: float) -> None:
        chance = np.random.default_rng(seed)
        labels = np.repeat([0, 1, COMPLY_INDEX], [9, 13, 30])
        scores = chance.normal(size=(len(labels), 2))
        scores[labels == 0, 0] += 2
        scores[labels == 1, 1] += 2
        own = solver(labels.tolist(), scores)
        spent = spend(own, budget, [0, 1], HABIT)
        assert spent.kept
        assert (spent.joint.over_refusal or 0) <= budget + 1e-9
        again = own.solve(Asked([spent.rate] * 2, [0, 0]))
        assert again.thresholds == spent.joint.thresholds
        turns = sorted({(k + 0.5) / n for n in (9, 13) for k in range(n)} | {1.0})
        ahead = [turn for turn in turns if turn > spent.rate][:2]
        if len(ahead) == 2:
            # Between two turns; there one more prompt of a category is refused.
            further = own.solve(Asked([sum(ahead) / 2] * 2, [0, 0]))
            assert (further.over_refusal or 0) > budget

    @given(st.integers(0, 2**32 - 1), st.floats(0, 0.5), st.floats(0, 0.5))
    def test_a_larger_budget_never_refuses_less(self, seed: int, one: float, more: float) -> None:
        chance = np.random.default_rng(seed)
        labels = [0] * 10 + [1] * 10 + [COMPLY_INDEX] * 10
        own = solver(labels, chance.normal(size=(30, 2)))
        small, large = (spend(own, budget, [0], HABIT) for budget in (one, one + more))
        assert small.rate <= large.rate
