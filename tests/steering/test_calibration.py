import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from steering.calibration import (
    COMPLY_INDEX,
    CalibrationError,
    CalibrationScores,
    wanted_of,
)
from steering.manifest import SCORES_FILE

NAMES = ("safety", "temporal")


def scores(labels: list[int], values: list[list[float]]) -> CalibrationScores:
    return CalibrationScores(
        categories=NAMES,
        labels=np.array(labels, dtype=np.int64),
        scores=np.array(values, dtype=np.float32).reshape(len(labels), len(NAMES)),
    )


FIVE = scores(
    [0, 0, 0, 0, 1, COMPLY_INDEX, COMPLY_INDEX],
    [[4, -9], [1, -9], [3, -9], [2, -9], [-9, 5], [-5, -5], [2.5, -9]],
)


class TestThreshold:
    @pytest.mark.parametrize(
        ("rate", "expected"),
        [(0.0, math.inf), (0.1, math.inf), (0.25, 4.0), (0.5, 3.0), (0.75, 2.0), (1.0, 1.0)],
    )
    def test_is_the_kth_largest_score(self, rate: float, expected: float) -> None:
        assert FIVE.threshold(0, rate) == expected

    def test_of_one_prompt(self) -> None:
        assert FIVE.threshold(1, 1.0) == 5
        assert FIVE.threshold(1, 0.49) == math.inf

    def test_rate_zero_needs_no_prompts(self) -> None:
        assert scores([], []).threshold(1, 0) == math.inf

    def test_another_rate_does(self) -> None:
        with pytest.raises(CalibrationError, match="'temporal' has no calibration prompts"):
            scores([0], [[1, 1]]).threshold(1, 0.5)

    @given(
        st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=60, unique=True),
        st.floats(0, 1),
    )
    def test_refuses_the_share_up_to_one_prompt(self, own: list[float], rate: float) -> None:
        calibration = scores([0] * len(own), [[value, -99] for value in own])
        refused = sum(value >= calibration.threshold(0, rate) for value in own)
        assert abs(refused / len(own) - rate) <= 1 / len(own)

    @given(st.floats(0, 1), st.floats(0, 1))
    def test_falls_as_the_rate_rises(self, one: float, other: float) -> None:
        low, high = sorted((one, other))
        assert FIVE.threshold(0, low) >= FIVE.threshold(0, high)

    @given(st.integers(2, 20), st.floats(0.5, 1))
    def test_ties_are_refused_together(self, count: int, rate: float) -> None:
        tied = scores([0] * count, [[1.5, -99]] * count)
        assert tied.threshold(0, rate) == 1.5


class TestRefusedShares:
    def test_counts_refusals_under_any_name(self) -> None:
        assert FIVE.refused_shares([2, 5]) == {"safety": 0.75, "temporal": 1, "comply": 0.5}

    def test_all_off_and_all_on(self) -> None:
        assert set(FIVE.refused_shares([math.inf] * 2).values()) == {0}
        assert set(FIVE.refused_shares([-math.inf, math.inf]).values()) == {1}

    def test_leaves_out_labels_without_prompts(self) -> None:
        assert scores([0], [[1, 1]]).refused_shares([0, 0]) == {"safety": 1}


class TestFiles:
    def test_survive_saving_and_loading(self, tmp_path: Path) -> None:
        FIVE.save(tmp_path)
        loaded = CalibrationScores.load(tmp_path, NAMES)
        assert np.array_equal(loaded.labels, FIVE.labels)
        assert np.array_equal(loaded.scores, FIVE.scores)
        assert loaded.counts() == {"safety": 4, "temporal": 1, "comply": 2}

    def test_keep_the_shapes_of_the_prompts(self, tmp_path: Path) -> None:
        assert FIVE.shape_counts() is None
        shapes = np.array([0, 1, 3, 0, 4, 2, 0], dtype=np.uint8)
        replace(FIVE, shapes=shapes).save(tmp_path)
        loaded = CalibrationScores.load(tmp_path, NAMES)
        assert loaded.shapes is not None
        assert loaded.shapes.dtype == np.uint8
        assert loaded.shapes.tolist() == shapes.tolist()
        assert loaded.shape_counts() == {"system": 2, "tools": 2, "turns": 1, "plain": 3}

    def test_may_be_without_them_as_older_ones_are(self, tmp_path: Path) -> None:
        path = tmp_path / SCORES_FILE
        path.parent.mkdir()
        arrays: dict[str, npt.NDArray[Any]] = {"labels": FIVE.labels, "scores": FIVE.scores}
        save_file(arrays, path, metadata={"categories": "\n".join(NAMES)})
        assert CalibrationScores.load(tmp_path, NAMES).shapes is None

    def test_do_not_stand_beside_the_weights(self, tmp_path: Path) -> None:
        FIVE.save(tmp_path)
        assert not list(tmp_path.glob("*.safetensors"))

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CalibrationError, match=rf"{tmp_path}.*demur-calibrate"):
            CalibrationScores.load(tmp_path, NAMES)

    def test_a_damaged_file_is_named(self, tmp_path: Path) -> None:
        FIVE.save(tmp_path)
        path = tmp_path / SCORES_FILE
        path.write_bytes(path.read_bytes()[:40])
        with pytest.raises(CalibrationError, match="cannot be used"):
            CalibrationScores.load(tmp_path, NAMES)

    def test_scores_of_other_categories_are_refused(self, tmp_path: Path) -> None:
        FIVE.save(tmp_path)
        with pytest.raises(CalibrationError, match="cannot be used"):
            CalibrationScores.load(tmp_path, (*NAMES, "humanizing"))

    def test_scores_of_reordered_categories_are_refused(self, tmp_path: Path) -> None:
        FIVE.save(tmp_path)
        with pytest.raises(CalibrationError, match="temporal, safety"):
            CalibrationScores.load(tmp_path, ("temporal", "safety"))


@pytest.mark.parametrize("label", [-2, 2])
def test_labels_outside_the_categories_are_refused(label: int) -> None:
    with pytest.raises(CalibrationError, match="labels must lie between"):
        scores([label], [[0, 0]])


@pytest.mark.parametrize(
    ("shapes", "fault"),
    [
        (np.zeros(6, dtype=np.uint8), r"shapes are uint8 \(6,\), not uint8 \(7,\)"),
        (np.zeros(7, dtype=np.int64), r"shapes are int64 \(7,\), not uint8"),
        (np.full(7, 8, dtype=np.uint8), "shapes are up to 8: the largest is 7"),
    ],
)
def test_shapes_that_are_none_are_refused(shapes: npt.NDArray[np.uint8], fault: str) -> None:
    with pytest.raises(CalibrationError, match=fault):
        replace(FIVE, shapes=shapes)


def test_some_rows_are_a_calibration_too() -> None:
    rows = np.array([True, False, False, False, True, False, True])
    assert FIVE.only(rows).shapes is None
    some = replace(FIVE, shapes=np.arange(7, dtype=np.uint8)).only(rows)
    assert some.counts() == {"safety": 1, "temporal": 1, "comply": 1}
    assert some.scores.tolist() == [[4, -9], [-9, 5], [2.5, -9]]
    assert some.shapes is not None
    assert some.shapes.tolist() == [0, 4, 6]


def test_nan_is_refused() -> None:
    with pytest.raises(CalibrationError, match="NaN"):
        scores([0], [[math.nan, 0]])


def test_scopes_have_files_of_their_own(tmp_path: Path) -> None:
    FIVE.save(tmp_path)
    other = scores([0], [[1, 2]])
    other.save(tmp_path, "every_token")
    assert len(CalibrationScores.load(tmp_path, NAMES).labels) == 7
    loaded = CalibrationScores.load(tmp_path, NAMES, "every_token")
    assert loaded.scores.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("rate", "count", "wanted"), [(0.5, 5, 3), (0.49, 5, 2), (0.1, 4, 0), (1, 4, 4), (0.5, 0, 0)]
)
def test_rates_are_rounded_half_up(rate: float, count: int, wanted: int) -> None:
    assert wanted_of(rate, count) == wanted
