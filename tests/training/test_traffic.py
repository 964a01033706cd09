import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.gate import decide
from steering.settings import log_odds_of
from training.records import RecordError
from training.traffic import TrafficError, read_traffic, threshold_for


def refused(scores: np.ndarray, probability: float) -> int:
    thresholds = np.full(scores.shape[1], log_odds_of(probability), dtype=np.float32)
    return int((decide(scores, thresholds) >= 0).sum())


class TestThreshold:
    def test_by_hand(self) -> None:
        scores = np.array([[0, -3], [-9, 1], [2, -9], [-4, -5]], dtype=np.float32)
        found = threshold_for(scores, 0.5)
        # Half way between 1 and 0.
        assert found.probability == pytest.approx(1 / (1 + np.exp(-0.5)))
        assert (found.refused, found.prompts) == (2, 4)
        assert json.loads(found.settings(["a", "b"])) == {
            "refusal_thresholds": {"a": found.probability, "b": found.probability}
        }
        assert found.interval.low < 0.5 < found.interval.high

    def test_everything(self) -> None:
        assert threshold_for(np.array([[1], [3]], dtype=np.float32), 1).refused == 2

    def test_ties_are_refused_together(self) -> None:
        assert threshold_for(np.zeros((10, 2), dtype=np.float32), 0.2).refused == 10

    @given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(0.01, 1))
    def test_refuses_the_share_up_to_one_prompt(self, seed: int, count: int, share: float) -> None:
        scores = np.random.default_rng(seed).normal(-5, 4, size=(count, 3)).astype(np.float32)
        if share * count < 0.5:
            return
        found = threshold_for(scores, share)
        assert refused(scores, found.probability) == found.refused
        assert abs(found.refused / count - share) <= 0.5 / count + 1e-9

    def test_less_than_one_prompt(self) -> None:
        with pytest.raises(TrafficError, match=r"0.02 of 10 prompts .* at least 51"):
            threshold_for(np.zeros((10, 2), dtype=np.float32), 0.02)

    def test_probabilities_that_cannot_tell(self) -> None:
        scores = np.array([[60], [50], [40]], dtype=np.float32)
        with pytest.raises(TrafficError, match=r"log-odds 60\.0"):
            threshold_for(scores, 0.34)

    def test_scores_that_are_no_numbers(self) -> None:
        scores = np.array([[0, np.nan], [1, 2], [np.nan, np.nan]], dtype=np.float32)
        with pytest.raises(TrafficError, match="2 of 3 prompts have scores that are NaN"):
            threshold_for(scores, 0.5)


class TestReading:
    def test_labels_are_not_needed(self, tmp_path: Path) -> None:
        path = tmp_path / "traffic.jsonl"
        lines = [
            '{"messages": [{"role": "user", "content": "one"}]}',
            "",
            '{"messages": [{"role": "user", "content": "two"}], "category": "weather", "from": 3}',
        ]
        path.write_text("\n".join(lines))
        records = read_traffic([str(path), str(path)])
        assert [record.prompt.messages[0].content for record in records] == ["one", "two"] * 2
        assert {record.category for record in records} == {None}

    def test_tools_belong_to_the_prompt(self, tmp_path: Path) -> None:
        tool = {"type": "function", "function": {"name": "clock"}}
        asked = {"messages": [{"role": "user", "content": "one"}]}
        rows = [asked | {"tools": [tool]}, asked | {"tools": None}]
        path = tmp_path / "traffic.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        assert [record.prompt.tools for record in read_traffic([str(path)])] == [(tool,), ()]

    def test_faults_of_all_files_are_listed(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text('nope\n{"messages": []}\n[1]\n')
        with pytest.raises(RecordError) as caught:
            read_traffic([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")])
        first, second, third, fourth = caught.value.faults
        assert first.endswith("a.jsonl:1: invalid JSON: expected ident, column 2")
        assert second.endswith("a.jsonl:2: messages: is empty")
        assert "a.jsonl:3:" in third
        assert "b.jsonl: cannot be read" in fourth

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text("\n")
        with pytest.raises(RecordError, match="holds no records"):
            read_traffic([str(tmp_path / "a.jsonl")])
