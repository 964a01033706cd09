import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from steering.calibration import COMPLY_INDEX, CalibrationScores
from steering.manifest import Calibration
from steering.shapes import FEATURES
from training.reliability import TRIED, mean_error, reliability, split
from training.report import write_report

NAMES = ("safety", "temporal", "unsupported")


def drawn(counts: tuple[int, int, int, int], shift: float = 4.0) -> CalibrationScores:
    """Normal scores of each category's prompts and, last, harmless ones."""
    chance = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, COMPLY_INDEX], counts)
    scores = chance.normal(-3, 1.5, size=(len(labels), 3))
    own = labels >= 0
    scores[own, labels[own]] += shift
    return CalibrationScores(NAMES, labels, scores.astype(np.float32))


def written(folder: Path, scores: CalibrationScores) -> str:
    calibration = Calibration(
        engine="transformers", dtype="float32", prompts=scores.counts(), weights="0123456789" * 6
    )
    path = write_report(folder, "demo", "first_token", calibration, scores)
    assert path == folder / "first_token.md"
    return path.read_text()


class TestReliability:
    def test_a_third_of_every_label_is_held_out(self) -> None:
        scores = drawn((30, 9, 4, 60))
        known, tried = split(scores)
        assert known.counts() == {"safety": 20, "temporal": 6, "unsupported": 3, "comply": 40}
        assert tried.counts() == {"safety": 10, "temporal": 3, "unsupported": 1, "comply": 20}
        rows = np.concatenate([known.scores, tried.scores])
        assert sorted(rows.tolist()) == sorted(scores.scores.tolist())

    def test_every_category_is_tried_at_every_rate(self) -> None:
        cells = reliability(drawn((300, 300, 300, 300)))
        assert [(cell.category, cell.rate) for cell in cells] == [
            (name, rate) for rate in TRIED for name in NAMES
        ]
        assert mean_error(cells) < 0.1
        assert sum(cell.inside for cell in cells) >= 0.9 * len(cells)

    def test_prompts_of_another_kind_are_outside(self) -> None:
        scores = drawn((300, 300, 300, 300))
        _, tried = split(scores)
        # The held-out prompts of one category look harmless.
        moved = np.isin(scores.scores, tried.scores[tried.labels == 1]).all(axis=1)
        scores.scores[moved] -= 6
        cells = reliability(scores)
        outside = {cell.category for cell in cells if not cell.inside}
        assert outside == {"temporal"}

    def test_categories_with_few_prompts_are_left_out(self) -> None:
        cells = reliability(drawn((30, 2, 0, 0)))
        assert {cell.category for cell in cells} == {"safety"}
        assert reliability(drawn((2, 1, 0, 9))) == ()


class TestReport:
    def test_says_how_rates_come_out(self, tmp_path: Path) -> None:
        text = written(tmp_path, drawn((100, 90, 80, 200)))
        assert "# Calibration of demo, scope first_token" in text
        assert "470 prompts (safety 100, temporal 90, unsupported 80, comply 200)" in text
        assert re.search(r"come out \d+\.\d percentage points from what was asked", text)
        assert "| 0.8 | " in text
        assert "80.0% (71 to 87)" in text
        assert "| 5% | 0." in text
        assert "| unsupported | 80 | 1.25% |" in text

    def test_compares_prompts_of_different_shapes(self, tmp_path: Path) -> None:
        scores = drawn((100, 90, 80, 200))
        assert "another shape" not in written(tmp_path, scores)
        shapes = np.zeros(470, dtype=np.uint8)
        shapes[:50] = FEATURES["tools"]
        scores.scores[:50] -= 5
        text = written(tmp_path, replace(scores, shapes=shapes))
        assert "(`plain`: nothing): system 0, tools 50, turns 0, plain 420." in text
        assert "not a promise for prompts of the kind system, turns." in text
        rows = re.findall(r"^\| (default|0.5|0.9) \| tools \(50\) \| (.*) \|$", text, re.MULTILINE)
        assert [rate for rate, _ in rows] == ["default", "0.5", "0.9"]
        for _, cells in rows:
            safety, temporal, _, comply = cells.split(" | ")
            assert re.fullmatch(r"\*\*\d+% / \d+%\*\*", safety)
            assert temporal.startswith("- / ")
            assert comply.startswith("- / ")

    def test_figures_stand_beside_it(self, tmp_path: Path) -> None:
        text = written(tmp_path, drawn((100, 90, 80, 200)))
        for name in re.findall(r"\]\((.*?)\.png\)", text):
            assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
            root = ElementTree.fromstring((tmp_path / f"{name}.svg").read_text())
            assert root.tag.endswith("svg")
        assert {path.stem for path in tmp_path.glob("*.svg")} == {
            "first_token-curves",
            "first_token-reliability",
        }

    def test_the_same_scores_give_the_same_report(self, tmp_path: Path) -> None:
        scores = drawn((12, 12, 12, 12))
        texts = [written(tmp_path / name, scores) for name in ("one", "two")]
        assert texts[0] == texts[1]
        one, two = (
            (tmp_path / name / "first_token-curves.svg").read_bytes() for name in ("one", "two")
        )
        assert one == two

    @pytest.mark.parametrize("counts", [(1, 0, 0, 0), (0, 0, 0, 3), (2, 2, 0, 1)])
    def test_of_next_to_nothing(self, tmp_path: Path, counts: tuple[int, int, int, int]) -> None:
        text = written(tmp_path, drawn(counts))
        assert ("curves.png" in text) is any(counts[:3])
        assert "Too few prompts to try the rates" in text
        assert "| unsupported | 0 | thresholds only |" in text
