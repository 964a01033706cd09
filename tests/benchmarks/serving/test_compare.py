import math

import pytest

from benchmarks.serving.cells import WARM_UP
from benchmarks.serving.compare import (
    Estimate,
    cells_of,
    difference,
    figures,
    in_time,
    later,
    pairs,
    ratio,
    shows_no_cost,
    verdict,
)
from tests.benchmarks.serving.made import requests, run

# The machine slows down to a half: the arm is 5% to 15% faster than the base all the while.
DRIFTING = {
    ("b", 0): 110.0,
    ("a", 0): 100.0,
    ("b", 1): 84.0,
    ("a", 1): 80.0,
    ("b", 2): 57.5,
    ("a", 2): 50.0,
}


class TestPairs:
    def test_only_repetitions_that_have_both(self) -> None:
        values = DRIFTING | {("b", 3): 1.0, ("a", 4): 1.0}
        assert pairs(values, "b", "a").tolist() == [[110, 100], [84, 80], [57.5, 50]]

    def test_without_a_pair_there_is_no_ratio(self) -> None:
        assert ratio({("b", 0): 1.0, ("a", 1): 1.0}, "b", "a") is None

    def test_one_pair_has_no_interval(self) -> None:
        found = ratio({("b", 0): 3.0, ("a", 0): 2.0}, "b", "a")
        assert found is not None
        assert (found.low, found.high, found.pairs) == (None, None, 1)
        assert found.value == pytest.approx(1.5)


def test_a_drift_of_the_machine_cancels_out() -> None:
    found = ratio(DRIFTING, "b", "a")
    assert found is not None
    assert found.value == pytest.approx((1.1 * 1.05 * 1.15) ** (1 / 3))
    assert found.low == pytest.approx(1.05)
    assert found.high == pytest.approx(1.15)


def test_differences_of_pairs() -> None:
    found = difference(DRIFTING, "b", "a")
    assert found is not None
    assert found.value == pytest.approx((10 + 4 + 7.5) / 3)


class TestFigures:
    runs = (
        run("a", 0, **{WARM_UP: requests(), "one": requests(10.0, first=1)}),
        run("b", 0, one=requests(10.0, first=2, refused=4)),
    )

    def test_by_arm_and_repetition(self) -> None:
        assert figures(self.runs, "one", "first_text") == {("a", 0): 10, ("b", 0): 20}
        assert figures(self.runs, "one", "e2e", refused=True) == {("b", 0): 120}
        assert figures(self.runs, WARM_UP, "ttft") == {("a", 0): 10}

    def test_the_warm_up_is_no_load(self) -> None:
        assert cells_of(self.runs) == ["one"]

    def test_the_control_token_is_one_step_of_the_base(self) -> None:
        found = later(self.runs, "one", "first_text", "b", "a")
        assert found is not None
        assert found.value == pytest.approx(1)

    def test_its_empty_piece_comes_with_the_first_one_of_the_base(self) -> None:
        found = later(self.runs, "one", "ttft", "b", "a")
        assert found is not None
        assert found.value == pytest.approx(0)


class TestNoCost:
    @pytest.mark.parametrize(
        ("found", "free"),
        [
            (Estimate(0.97, 0.95, 1.01, 5), True),  # the interval contains 1
            (Estimate(0.985, 0.981, 0.99, 5), True),  # above 0.98
            (Estimate(0.97, 0.96, 0.99, 5), False),
            (Estimate(0.97, None, None, 1), False),
        ],
    )
    def test_by_itself(self, found: Estimate, free: bool) -> None:
        assert shows_no_cost(found, None) is free

    def test_within_the_noise_of_stock_against_stock(self) -> None:
        found = Estimate(0.97, 0.96, 0.99, 5)
        assert shows_no_cost(found, Estimate(1.01, 0.99, 1 / 0.97, 5))
        assert not shows_no_cost(found, Estimate(1.0, 0.98, 1.02, 5))


@pytest.mark.parametrize(
    ("found", "floor", "expected"),
    [
        (Estimate(1.0, 0.99, 1.01, 5), Estimate(1.0, 0.98, 1.02, 5), "no cost"),
        (Estimate(0.9, 0.89, 0.92, 5), Estimate(1.0, 0.98, 1.02, 5), "a cost"),
        (Estimate(1.0, 0.5, 2.0, 5), Estimate(1.0, 0.98, 1.02, 5), "too noisy to tell"),
        (Estimate(0.7, 0.69, 0.71, 5), Estimate(0.7, 0.5, 0.9, 5), "too noisy to tell"),
        (Estimate(0.3, 0.29, 0.31, 5), Estimate(0.9, 0.7, 1.1, 5), "a cost"),
    ],
)
def test_noise_is_no_proof(found: Estimate, floor: Estimate, expected: str) -> None:
    assert verdict(found, floor) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Estimate(0.9, 0.8, 1.0, 5), "no cost"),
        (Estimate(0.9, 0.8, 1.1, 5), "too noisy to tell"),
        (Estimate(1.5, 1.1, 1.9, 5), "a cost"),
        (Estimate(0.5, None, None, 1), "too noisy to tell"),
    ],
)
def test_a_delay_is_within_a_step_or_not(found: Estimate, expected: str) -> None:
    assert in_time(found) == expected


def test_an_estimate_is_shown_with_its_interval() -> None:
    assert str(Estimate(1.0, 0.95, math.sqrt(1.1), 5)) == "1.000 (0.950 to 1.049)"
    assert str(Estimate(1.0, None, None, 1)) == "1.000"
