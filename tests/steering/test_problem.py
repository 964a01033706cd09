"""Sets of prompts, as ints, against the same in NumPy."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steering import problem
from steering.calibration import COMPLY_INDEX
from steering.problem import Floats, Prompts

CATEGORIES = 3
SCORES = [-math.inf, -1.0, 0.0, 0.5, 1.0, math.inf]
"""Few, so that there are many ties."""
THRESHOLDS = st.lists(st.sampled_from([*SCORES, 0.75]), min_size=CATEGORIES, max_size=CATEGORIES)


@st.composite
def drawn(draw: st.DrawFn) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Scores, [N, C], and labels, [N]; some categories may have no prompts, or none harmless."""
    count = draw(st.integers(0, 40))
    elements = st.sampled_from(SCORES)
    scores = draw(arrays.arrays(np.float32, (count, CATEGORIES), elements=elements))
    every = st.integers(COMPLY_INDEX, CATEGORIES - 1)
    return scores, draw(arrays.arrays(np.int64, count, elements=every))


def members(prompts: int) -> list[int]:
    return [index for index in range(prompts.bit_length()) if prompts >> index & 1]


class TestRefused:
    @given(drawn(), THRESHOLDS)
    def test_is_what_some_threshold_refuses(
        self, data: tuple[Floats, npt.NDArray[np.int64]], thresholds: list[float]
    ) -> None:
        scores, labels = data
        prompts = Prompts(scores, labels)
        refused = prompts.refused(thresholds)
        # A threshold of +inf is off, also for a score of +inf.
        reached = (scores >= np.array(thresholds)) & (np.array(thresholds) < math.inf)
        of = [labels[row] for row in np.flatnonzero(reached.any(axis=1))]
        assert prompts.counts(refused) == [of.count(category) for category in range(CATEGORIES)]
        assert prompts.harmless(refused) == of.count(COMPLY_INDEX)
        assert prompts.total_harmless == (labels == COMPLY_INDEX).sum()

    @given(drawn(), THRESHOLDS, st.integers(0, CATEGORIES - 1))
    def test_of_one_category_by_the_others(
        self,
        data: tuple[Floats, npt.NDArray[np.int64]],
        thresholds: list[float],
        category: int,
    ) -> None:
        prompts = Prompts(*data)
        without = [*thresholds]
        without[category] = math.inf
        refused = prompts.refused(thresholds, but=category)
        assert refused == prompts.refused(without)
        own = prompts.scores[:, prompts.starts[category] : prompts.starts[category + 1]]
        reached = (own >= np.array(without)[:, None]).any(axis=0)
        assert members(prompts.part(category, refused)) == np.flatnonzero(reached).tolist()

    def test_what_there_is_no_room_for_is_found_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(problem, "CACHED_BYTES", 3 * problem.ENTRY_BYTES)
        prompts = Prompts(np.arange(8, dtype=np.float32)[:, None], np.zeros(8, dtype=np.int64))
        for _ in range(2):
            for rank in range(8):
                assert members(prompts.refused([float(7 - rank)])) == [*range(rank + 1)]


class TestOwnScore:
    @given(drawn(), st.integers(0, CATEGORIES - 1), st.data())
    def test_is_that_of_the_rank_among_those_left(
        self,
        data: tuple[Floats, npt.NDArray[np.int64]],
        category: int,
        more: st.DataObject,
    ) -> None:
        prompts = Prompts(*data)
        own = prompts.own[category]
        places = more.draw(st.sets(st.sampled_from(range(len(own))))) if own else set()
        refused = sum(1 << place for place in places)
        left = [score for place, score in enumerate(own) if place not in places]
        assert left == sorted(left, reverse=True)
        for rank, score in enumerate(left, start=1):
            assert prompts.own_score(category, rank, refused) == score

    def test_no_rank_is_reached_by_none(self) -> None:
        prompts = Prompts(np.zeros((2, 1), dtype=np.float32), np.zeros(2, dtype=np.int64))
        assert prompts.own_score(0, 0, 0) == prompts.own_score(0, -1, 0b11) == math.inf
