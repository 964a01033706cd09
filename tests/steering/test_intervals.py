import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from steering.calibration import COMPLY_INDEX, CalibrationScores
from steering.intervals import (
    Interval,
    at_fixed_threshold,
    at_order_statistic,
    category_intervals,
    over_refusal_interval,
    prompts_needed,
    unresolved,
)
from steering.joint import Asked, Joint, JointSolver


def joint(**changes: object) -> Joint:
    fields: dict[str, object] = {
        "thresholds": (1.0,),
        "rates": (0.5,),
        "wanted": (5,),
        "refused": (5,),
        "prompts": (10,),
        "comply": (1, 20),
    }
    return Joint(**(fields | changes))  # type: ignore[arg-type]


class TestByHand:
    def test_of_one_prompt_a_new_one_is_above_or_below(self) -> None:
        # Beta(1, 1) is uniform.
        interval = at_order_statistic(1, 1)
        assert (interval.low, interval.high) == pytest.approx((0.025, 0.975))
        assert at_order_statistic(1, 1, new=1) == Interval(0, 1)

    def test_clopper_and_pearson_of_none_of_n(self) -> None:
        # (1 - p)^n = 0.025 at the upper end.
        interval = at_fixed_threshold(0, 20)
        assert interval.low == 0
        assert interval.high == pytest.approx(1 - 0.025 ** (1 / 20))
        mirrored = at_fixed_threshold(20, 20)
        assert (mirrored.low, mirrored.high) == pytest.approx((0.025 ** (1 / 20), 1))

    def test_without_prompts_nothing_is_known(self) -> None:
        assert at_fixed_threshold(0, 0) == Interval(0, 1)
        assert at_fixed_threshold(0, 0, new=7) == Interval(0, 1)

    def test_holds_its_ends(self) -> None:
        assert 0.2 in Interval(0.2, 0.4)
        assert 0.41 not in Interval(0.2, 0.4)


class TestProperties:
    @given(st.integers(1, 200), st.data())
    def test_scipy_agrees_on_clopper_and_pearson(self, prompts: int, data: st.DataObject) -> None:
        reached = data.draw(st.integers(0, prompts))
        theirs = stats.binomtest(reached, prompts).proportion_ci(0.95, method="exact")
        ours = at_fixed_threshold(reached, prompts)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)

    @given(st.integers(1, 100), st.one_of(st.none(), st.integers(1, 100)), st.data())
    def test_a_fixed_threshold_is_known_less_well(
        self, prompts: int, new: int | None, data: st.DataObject
    ) -> None:
        rank = data.draw(st.integers(1, prompts))
        known, fixed = (
            at_order_statistic(rank, prompts, new),
            at_fixed_threshold(rank, prompts, new),
        )
        assert 0 <= fixed.low <= known.low <= known.high <= fixed.high <= 1

    @given(st.integers(1, 50), st.data())
    def test_many_new_prompts_are_the_long_run(self, prompts: int, data: st.DataObject) -> None:
        rank = data.draw(st.integers(1, prompts))
        long_run, many = at_order_statistic(rank, prompts), at_order_statistic(rank, prompts, 5000)
        assert (many.low, many.high) == pytest.approx((long_run.low, long_run.high), abs=0.01)


class TestOfJointThresholds:
    def test_a_rate_that_is_met_is_an_order_statistic(self) -> None:
        assert category_intervals(joint()) == (at_order_statistic(5, 10),)
        assert category_intervals(joint(), new=7) == (at_order_statistic(5, 10, 7),)

    @pytest.mark.parametrize(
        "changes",
        [
            {"rates": (None,), "wanted": (None,)},
            {"wanted": (4,)},
            {"thresholds": (math.inf,)},
        ],
        ids=["given threshold", "excess", "off"],
    )
    def test_every_other_threshold_is_fixed(self, changes: dict[str, object]) -> None:
        assert category_intervals(joint(**changes)) == (at_fixed_threshold(5, 10),)

    def test_harmless_prompts_have_no_say_in_the_threshold(self) -> None:
        assert over_refusal_interval(joint()) == at_fixed_threshold(1, 20)
        assert over_refusal_interval(joint(), new=9) == at_fixed_threshold(1, 20, 9)


def sample(chance: np.random.Generator, counts: list[int], signal: float) -> CalibrationScores:
    labels = np.repeat([*range(len(counts) - 1), COMPLY_INDEX], counts)
    scores = chance.normal(size=(len(labels), len(counts) - 1))
    own = labels >= 0
    scores[own, labels[own]] += signal
    names = tuple(f"c{index}" for index in range(len(counts) - 1))
    return CalibrationScores(names, labels, scores.astype(np.float32))


@pytest.mark.parametrize("signal", [1.5, 3.0])
def test_new_prompts_are_where_the_intervals_say(
    signal: float, report: Callable[[str], None]
) -> None:
    """Calibrate and test afresh, at all rates at once, with categories that overlap."""
    chance = np.random.default_rng(1)
    held: list[bool] = []
    by_quantiles: list[bool] = []
    for _ in range(60):
        known = sample(chance, [60, 50, 40, 100], signal)
        test = sample(chance, [45, 45, 45, 45], signal)
        for rate in (0.3, 0.6, 0.9):
            solved = JointSolver(known).solve(Asked([rate] * 3, [0.0] * 3))
            alone = [known.threshold(category, rate) for category in range(3)]
            intervals = [*category_intervals(solved, 45), over_refusal_interval(solved, 45)]
            shares = list(test.refused_shares(solved.thresholds).values())
            held += [share in where for share, where in zip(shares, intervals, strict=True)]
            shares = list(test.refused_shares(alone).values())
            by_quantiles += [share in where for share, where in zip(shares, intervals, strict=True)]
    report(
        f"shares on new prompts inside their 95% intervals, signal {signal}: {np.mean(held):.1%};"
        f" with each category's quantile by itself {np.mean(by_quantiles):.1%}"
    )
    assert np.mean(held) >= 0.95
    assert np.mean(held) >= np.mean(by_quantiles)


class TestResolution:
    @pytest.mark.parametrize(
        ("rate", "prompts"), [(0, 1), (1, 1), (0.5, 2), (0.8, 100), (0.123, 100), (0.995, 200)]
    )
    def test_resolved(self, rate: float, prompts: int) -> None:
        assert unresolved("safety", rate, prompts) is None

    def test_finer_than_one_prompt(self) -> None:
        assert unresolved("safety", 0.999, 100) == (
            "a rate of 0.999 for 'safety' is finer than its 100 calibration prompts resolve:"
            " it comes out as 1. Calibrate with at least 501."
        )

    def test_between_two_prompts(self) -> None:
        message = unresolved("safety", 0.4, 3)
        assert message is not None
        assert "comes out as 0.333. Calibrate with at least 51." in message

    @given(st.floats(0.001, 0.999), st.integers(0, 1000))
    def test_what_is_needed_is_enough(self, rate: float, more: int) -> None:
        assert unresolved("safety", rate, prompts_needed(rate) + more) is None
