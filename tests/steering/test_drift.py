import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.drift import (
    STABLE,
    DriftWindow,
    chance_limit,
    compare,
    stability_index,
)

NAMES = ("safety", "temporal")
REPETITIONS = 20


def prompts(chance: np.random.Generator, count: int, harmless: float = 0.5) -> np.ndarray:
    """Scores of a mix: harmless prompts score low, the others high on one of the categories."""
    scores = chance.normal(-4, 1.5, size=(count, 2))
    own = chance.integers(0, 2, size=count)
    refusable = chance.random(count) >= harmless
    scores[np.arange(count)[refusable], own[refusable]] += 7
    return scores.astype(np.float32)


class TestStabilityIndex:
    def test_by_hand(self) -> None:
        # Two bins of 10 and 10 against 5 and 15, and half a score more in every bin.
        index = stability_index([0] * 10 + [1] * 10, [0] * 5 + [1] * 15, bins=2)
        p, q = 10.5 / 21, 5.5 / 21
        assert index == pytest.approx((q - p) * math.log(q / p) + (p - q) * math.log((1 - q) / p))

    def test_of_the_same_scores_is_0(self) -> None:
        scores = np.random.default_rng(0).normal(size=300)
        assert stability_index(scores, scores) == 0

    def test_scores_outside_those_known_are_finite(self) -> None:
        assert STABLE < stability_index(np.arange(100), [1e9] * 50) < math.inf
        assert STABLE < stability_index(np.arange(100), [-1e9] * 50) < math.inf

    def test_equal_scores_have_two_bins(self) -> None:
        assert stability_index([3] * 50, [3] * 80) == pytest.approx(0, abs=0.01)
        assert stability_index([3] * 50, [4] * 80) > STABLE

    @given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 200))
    def test_is_never_negative(self, seed: int, before: int, now: int) -> None:
        chance = np.random.default_rng(seed)
        assert stability_index(chance.normal(size=before), chance.normal(1, 2, size=now)) >= 0

    def test_chance_passes_the_limit_about_as_often_as_it_says(self) -> None:
        chance = np.random.default_rng(0)
        limit = chance_limit(400, 300)
        passed = sum(
            stability_index(chance.normal(size=400), chance.normal(size=300)) > limit
            for _ in range(2000)
        )
        # A fifth is expected.
        assert passed <= 3


class TestCompare:
    def test_prompts_of_the_same_source_raise_no_alarm(self) -> None:
        chance = np.random.default_rng(0)
        reference = prompts(chance, 500)
        for _ in range(REPETITIONS):
            drifts = compare(NAMES, reference, prompts(chance, 400))
            assert not any(drift.alarm for drift in drifts)

    def test_a_shifted_mix_raises_it(self) -> None:
        chance = np.random.default_rng(0)
        reference = prompts(chance, 500)
        for _ in range(REPETITIONS):
            drifts = compare(NAMES, reference, prompts(chance, 400, harmless=0.05))
            assert [drift.category for drift in drifts] == list(NAMES)
            assert any(drift.alarm for drift in drifts)
            assert all(drift.index > STABLE for drift in drifts)

    def test_few_prompts_have_a_higher_limit(self) -> None:
        few, many = (
            compare(NAMES, np.zeros((n, 2), np.float32), np.zeros((n, 2), np.float32))[0].limit
            for n in (20, 10_000)
        )
        assert few > many == STABLE


class TestWindow:
    def test_says_nothing_of_a_few_prompts(self) -> None:
        chance = np.random.default_rng(0)
        window = DriftWindow(NAMES, prompts(chance, 300))
        for row in prompts(chance, 99):
            window.add(row)
        assert window.look() is None
        window.add([0, 0])
        assert window.look() is not None

    def test_holds_the_last_prompts_only(self) -> None:
        chance = np.random.default_rng(0)
        reference, shifted, usual = (
            prompts(chance, 500),
            prompts(chance, 300, harmless=0),
            prompts(chance, 250),
        )
        window = DriftWindow(NAMES, reference, window=250)
        for row in shifted:
            window.add(row)
        assert len(window) == 250
        assert window.look() == compare(NAMES, reference, np.roll(shifted[50:], 50, axis=0))
        for row in usual:
            window.add(row)
        assert len(window) == 250
        drifts = window.look()
        assert drifts is not None
        assert not any(drift.alarm for drift in drifts)

    def test_nan_counts_as_the_largest_score(self) -> None:
        reference = prompts(np.random.default_rng(0), 300)
        window = DriftWindow(NAMES, reference, window=100)
        for _ in range(100):
            window.add([math.nan, -math.inf])
        drifts = window.look()
        assert drifts is not None
        assert all(drift.alarm and math.isfinite(drift.index) for drift in drifts)
        far = np.tile(np.array([1e9, -1e9], dtype=np.float32), (100, 1))
        assert drifts == compare(NAMES, reference, far)
