import itertools
import math
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steering.calibration import COMPLY_INDEX, CalibrationError, CalibrationScores
from steering.gate import decide
from steering.joint import QUICK_SCORES, Asked, Joint, JointSolver
from steering.nearest import nearest
from steering.problem import NotQuickError, Problem, Prompts

OFF = math.inf


def calibration(labels: Sequence[int], scores: object, categories: int = 2) -> CalibrationScores:
    return CalibrationScores(
        categories=tuple(f"c{index}" for index in range(categories)),
        labels=np.array(labels, dtype=np.int64),
        scores=np.array(scores, dtype=np.float32).reshape(len(labels), categories),
    )


def by_rates(scores: CalibrationScores, rates: Sequence[float | None]) -> Joint:
    return JointSolver(scores).solve(Asked(rates, [0.0] * len(rates)))


def noisy(seed: int, counts: Sequence[int], signal: float = 3.0) -> CalibrationScores:
    """Normal scores, no two alike; a prompt's own category stands out by `signal`."""
    chance = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    scores = chance.normal(size=(len(labels), len(counts)))
    scores[np.arange(len(labels)), labels] += signal
    comply = chance.normal(size=(20, len(counts)))
    return calibration(
        [*labels, *[COMPLY_INDEX] * 20], np.concatenate([scores, comply]), len(counts)
    )


rates = st.floats(0.01, 0.99)
several_rates = st.lists(rates, min_size=1, max_size=5)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def small(draw: st.DrawFn) -> CalibrationScores:
    """A few prompts of whole-numbered scores that mean nothing: full of ties and conflicts."""
    categories = draw(st.integers(1, 3))
    labels = draw(st.lists(st.integers(0, categories - 1), min_size=0, max_size=9))
    labels += range(categories)
    rows = st.lists(st.integers(-3, 3), min_size=categories, max_size=categories)
    scores = draw(st.lists(rows, min_size=len(labels), max_size=len(labels)))
    return calibration(labels, scores, categories)


def least_excess(scores: CalibrationScores, wanted: Sequence[int | None]) -> float:
    """By trying every combination of thresholds, with the gate's own arithmetic."""
    grids = [np.append(np.unique(column), np.float32(OFF)) for column in scores.scores.T]
    counts = np.bincount(scores.labels, minlength=len(grids))
    least = math.inf
    for thresholds in itertools.product(*grids):
        refused = decide(scores.scores, np.array(thresholds, dtype=np.float32)) >= 0
        over = np.bincount(scores.labels[refused], minlength=len(grids)) - np.array(wanted)
        if (over >= 0).all():
            least = min(least, float((over / counts).sum()))
    return least


class TestByHand:
    # Two of the four prompts of c0 score high on c1, and one of c1 on c0.
    SCORES = calibration(
        [0, 0, 0, 0, 1, 1, -1, -1],
        [[5, 4], [4, -9], [3, 3], [2, -9], [1, 6], [-9, 2], [2.5, -9], [-9, -9]],
    )

    def test_others_refusals_count(self) -> None:
        # At 6 > t_1 > 4 nobody of c0 is refused by c1; at 2 two of them are, and need no help.
        solved = by_rates(self.SCORES, [0.5, 0.5])
        assert solved.thresholds == (4.0, 6.0)
        assert solved.shares == (0.5, 0.5)
        solved = by_rates(self.SCORES, [0.75, 0.999])
        assert solved.thresholds == (4.0, 2.0)
        assert solved.shares == (0.75, 1.0)
        assert solved.off_by == (0.0, 0.0)

    def test_each_by_itself_refuses_too_much(self) -> None:
        alone = (self.SCORES.threshold(0, 0.75), self.SCORES.threshold(1, 0.999))
        assert alone == (3.0, 2.0)
        assert by_rates(self.SCORES, [0.75, 0.999]).thresholds != alone

    def test_what_others_refuse_already_is_reported(self) -> None:
        solved = by_rates(self.SCORES, [0.25, 0.999])
        assert solved.thresholds == (OFF, 2.0)
        assert solved.shares == (0.5, 1.0)
        assert solved.off_by == (0.25, 0.0)

    def test_rate_0_is_off_and_rate_1_the_smallest_score(self) -> None:
        assert by_rates(self.SCORES, [0, 1]).thresholds == (OFF, 2.0)
        # c1 refuses both of its prompts, and c0's threshold stays where a rate of 1 puts it.
        solved = by_rates(self.SCORES, [1, 1])
        assert solved.thresholds == (2.0, 2.0)
        assert solved.over_refusal == 0.5
        assert solved.comply == (1, 2)

    def test_categories_without_a_rate_keep_their_threshold(self) -> None:
        solved = JointSolver(self.SCORES).solve(Asked([0.75, None], [99, 3]))
        assert solved.thresholds == (4.0, 3.0)
        assert solved.wanted == (3, None)
        assert solved.off_by == (0.0, 0.0)

    def test_a_threshold_of_minus_infinity_refuses_everything(self) -> None:
        solved = JointSolver(self.SCORES).solve(Asked([0.5, None], [0, -OFF]))
        assert solved.thresholds == (OFF, -OFF)
        assert solved.shares == (1.0, 1.0)
        assert solved.off_by == (0.5, 0.0)

    def test_a_score_of_infinity_does_not_reach_a_category_that_is_off(self) -> None:
        scores = calibration([0, 0], [[OFF, -OFF], [1, 1]])
        assert by_rates(scores, [0, 0]).shares == (0.0, None)


class TestBounds:
    def solve(self, rate: float, **bounds: Sequence[float]) -> Joint:
        asked = Asked([rate, 0.5], [0, 0], **bounds)
        return JointSolver(TestByHand.SCORES).solve(asked)

    def test_a_highest_threshold_refuses_more_than_asked(self) -> None:
        solved = self.solve(0, highest=[3, OFF])
        assert solved.thresholds == (3.0, 6.0)
        assert solved.off_by == (0.75, 0.0)

    def test_a_lowest_threshold_falls_short(self) -> None:
        solved = self.solve(1, lowest=[3, -OFF])
        assert solved.thresholds == (3.0, 6.0)
        assert solved.off_by == (-0.25, 0.0)

    def test_the_others_do_not_make_up_for_it(self) -> None:
        # c1 could refuse more of c0's prompts, under the wrong name.
        solved = self.solve(0.75, lowest=[5, -OFF])
        assert solved.thresholds == (5.0, 6.0)
        assert solved.off_by == (-0.5, 0.0)

    def test_given_thresholds_are_bound_too(self) -> None:
        asked = Asked([None, None], [-OFF, OFF], lowest=[1, 1], highest=[9, 9])
        assert JointSolver(TestByHand.SCORES).solve(asked).thresholds == (1.0, 9.0)


class TestDegenerate:
    def test_one_prompt(self) -> None:
        scores = calibration([0], [[1]], 1)
        assert by_rates(scores, [0.49]).thresholds == (OFF,)
        assert by_rates(scores, [0.5]).thresholds == (1.0,)

    def test_all_scores_equal(self) -> None:
        scores = calibration([0] * 10 + [1] * 10, [[2, 2]] * 20)
        solved = by_rates(scores, [0.3, 0.6])
        # All or none: nobody gets less than asked.
        assert solved.shares == (1.0, 1.0)
        assert solved.off_by == pytest.approx((0.7, 0.4))

    def test_an_empty_category_has_no_rate_but_0(self) -> None:
        scores = calibration([0, 0], [[1, 5], [2, 5]])
        with pytest.raises(CalibrationError, match="'c1' has no calibration prompts"):
            by_rates(scores, [0.5, 0.5])
        solved = by_rates(scores, [0.5, 0])
        assert solved.thresholds == (2.0, OFF)
        assert solved.shares == (0.5, None)
        assert by_rates(scores, [0.5, None]).shares == (1.0, None)

    def test_no_prompts_at_all(self) -> None:
        solved = by_rates(calibration([], []), [0, None])
        assert solved.thresholds == (OFF, 0.0)
        assert solved.over_refusal is None

    def test_rates_of_other_categories_are_refused(self) -> None:
        with pytest.raises(ValueError, match="zip"):
            by_rates(calibration([], []), [0])


class TestProperties:
    @given(seeds, several_rates)
    def test_exact_to_one_prompt_at_all_rates_at_once(self, seed: int, asked: list[float]) -> None:
        solved = by_rates(noisy(seed, [40] * len(asked), signal=9), asked)
        for share, rate in zip(solved.shares, asked, strict=True):
            assert share is not None
            assert abs(share - rate) <= 0.5 / 40 + 1e-9

    @given(seeds, several_rates)
    def test_shares_are_those_that_the_gate_refuses(self, seed: int, asked: list[float]) -> None:
        scores = noisy(seed, [9] * len(asked), signal=1)
        solved = by_rates(scores, asked)
        shares = scores.refused_shares(solved.thresholds)
        assert shares.pop("comply") == pytest.approx(solved.over_refusal)
        assert list(shares.values()) == pytest.approx(solved.shares)

    @given(small(), st.data())
    def test_the_nearest_of_all_thresholds(
        self, scores: CalibrationScores, data: st.DataObject
    ) -> None:
        asked = [data.draw(rates) for _ in scores.categories]
        solved = by_rates(scores, asked)
        if all(solved.wanted):  # a category without a prompt to refuse is off, which the
            # combinations do not know
            assert sum(solved.off_by) == pytest.approx(least_excess(scores, list(solved.wanted)))

    @given(small(), st.data())
    def test_what_some_thresholds_reach_is_reached(
        self, scores: CalibrationScores, data: st.DataObject
    ) -> None:
        thresholds = [data.draw(st.integers(-3, 3)) for _ in scores.categories]
        shares = scores.refused_shares(thresholds)
        asked = [min(shares[name], 0.9999) for name in scores.categories]
        if all(asked):
            assert by_rates(scores, asked).shares == pytest.approx(tuple(shares.values()))

    @given(small(), st.data())
    def test_nobody_gets_less_than_asked(
        self, scores: CalibrationScores, data: st.DataObject
    ) -> None:
        asked = [data.draw(st.floats(0, 1)) for _ in scores.categories]
        assert min(by_rates(scores, asked).off_by) >= 0

    @given(seeds, st.lists(rates, min_size=3, max_size=3), st.floats(0, 1))
    def test_a_higher_rate_never_refuses_fewer_of_its_own(
        self, seed: int, asked: list[float], other: float
    ) -> None:
        scores = noisy(seed, [12, 7, 15])
        low, high = sorted([asked[0], other])
        shares = [by_rates(scores, [rate, *asked[1:]]).shares[0] or 0 for rate in (low, high)]
        assert shares[0] <= shares[1] + 1e-9

    @given(seeds, st.lists(rates, min_size=4, max_size=4), st.permutations(range(4)))
    def test_the_order_of_categories_and_prompts_does_not_matter(
        self, seed: int, asked: list[float], order: list[int]
    ) -> None:
        scores = noisy(seed, [8, 9, 10, 11], signal=2)
        solved = by_rates(scores, asked)
        rows = np.random.default_rng(seed).permutation(len(scores.labels))
        place = {old: new for new, old in enumerate(order)} | {COMPLY_INDEX: COMPLY_INDEX}
        shuffled = calibration(
            [place[label] for label in scores.labels[rows]], scores.scores[rows][:, order], 4
        )
        again = by_rates(shuffled, [asked[category] for category in order])
        assert again.off_by == pytest.approx([solved.off_by[category] for category in order])
        if not any(solved.off_by):
            assert again.thresholds == tuple(solved.thresholds[category] for category in order)

    @given(seeds, several_rates)
    def test_the_same_question_has_the_same_answer(self, seed: int, asked: list[float]) -> None:
        solver = JointSolver(noisy(seed, [10] * len(asked), signal=0))
        question = Asked(asked, [0.0] * len(asked))
        assert solver.solve(question) == solver.solve(question)


class TestQuick:
    @given(seeds, several_rates)
    def test_says_the_same_or_nothing(self, seed: int, asked: list[float]) -> None:
        solver = JointSolver(noisy(seed, [9] * len(asked), signal=1))
        question = Asked(asked, [0.0] * len(asked))
        with suppress(NotQuickError):
            assert solver.solve(question, quick=True) == solver.solve(question)

    def test_finds_what_the_iteration_does(self) -> None:
        solver = JointSolver(noisy(0, [20, 20]))
        assert solver.solve(Asked([0.5, 0.8], [0.0] * 2), quick=True).off_by == (0, 0)

    def test_finds_what_ends_with_the_first_box(self) -> None:
        solver = JointSolver(noisy(0, [20, 20], signal=0))
        solved = solver.solve(Asked([1.0, 0.02], [0.0] * 2), quick=True)
        assert solved.off_by[1] > 0

    @pytest.mark.parametrize(
        ("counts", "asked"),
        [
            ([20] * 8, [0.5, 0.02] * 4),
            ([200] * 8, [0.5, 0.02] * 4),
            ([QUICK_SCORES // 2], [0.5, 0.5]),
        ],
        ids=["many boxes", "large boxes", "many scores"],
    )
    def test_neither_searches_long_nor_looks_at_many_scores(
        self, counts: list[int], asked: list[float]
    ) -> None:
        solver = JointSolver(noisy(0, [*counts, 1][: len(asked)], signal=0))
        with pytest.raises(NotQuickError):
            solver.solve(Asked(asked, [0.0] * len(asked)), quick=True)


class TestSearch:
    @settings(max_examples=50)
    @given(small(), st.data())
    def test_finds_the_nearest_from_a_poor_start(
        self, scores: CalibrationScores, data: st.DataObject
    ) -> None:
        prompts = Prompts(scores.scores, scores.labels)
        wanted = [data.draw(st.integers(1, total)) for total in prompts.totals]
        highest, lowest = [OFF] * len(wanted), [-OFF] * len(wanted)
        problem = Problem(prompts, wanted, range(len(wanted)), highest, lowest, highest)
        refused = problem.refused(nearest(problem, lowest))
        assert problem.enough(refused)
        assert problem.excess(refused) == pytest.approx(least_excess(scores, wanted))

    def test_ends_where_there_is_too_much_to_search(self) -> None:
        scores = noisy(0, [200] * 8, signal=0)
        solved = by_rates(scores, [0.5, 0.02] * 4)
        assert min(solved.off_by) >= 0
        assert max(solved.off_by) > 0
