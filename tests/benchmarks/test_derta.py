import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.derta import Found, draw, gather, table, write_data
from training.datasets.load import load_records, load_triples
from training.evaluation.measures import Share

PARTS = (0.0, 0.1, 0.5, 1.0)


def share(count: int, of: int) -> dict[str, int]:
    return {"count": count, "of": of}


def results(folder: Path, turned: int, answers: int) -> Path:
    """Results of a model that turns `turned` of `answers` answers everywhere, its longest aside."""
    folder.mkdir()
    found = {
        "refusals": [
            {"label": "all to refuse", "refused": share(9, 9)},
            {"label": "all harmless", "refused": share(1, answers)},
        ],
        "transition": {
            "at_once": [{"turns": share(turned, answers)}] * answers,
            "parts": [
                {"part": part, "turns": share(turned, answers), "goes_on": share(answers, answers)}
                for part in PARTS
            ],
        },
    }
    (folder / "results.json").write_text(json.dumps(found))
    return folder


@pytest.fixture
def found(tmp_path: Path) -> Found:
    runs = [results(tmp_path / "a", 1, 4), results(tmp_path / "b", 3, 6)]
    return gather("+RTO", "word", runs)


def test_the_runs_prompts_are_added_up(found: Found) -> None:
    assert found.over_refusal == Share.among([True] * 2 + [False] * 8)
    assert found.turns == (Share.among([True] * 4 + [False] * 6),) * 4
    assert found.goes_on[0].value == 1.0
    # Only the second run has answers of 4 or 5 tokens.
    assert [at.of for at in found.at_once] == [10, 10, 10, 10, 6, 6]


def test_tables_and_curves_show_them(found: Found) -> None:
    lines = list(table([found], "Turns", "turns"))
    assert "| model | turns by | 0% | 10% | 50% | 100% |" in lines
    assert lines[-1].startswith("| +RTO | word | 40.0% (12.2% to 73.8%; 4 of 10) |")
    axes = draw([found]).axes
    assert [list(np.asarray(line.get_xdata())) for line in axes[1].lines] == [list(PARTS)]


def test_data_are_triples_and_as_many_contrast_prompts(tmp_path: Path) -> None:
    folder = write_data(tmp_path / "data", 0)
    test = load_records([str(folder / "test.jsonl")])
    assert len(load_triples([str(folder / "test-triples.jsonl")])) == len(test) / 2
    assert sum(record.harmful is not None for record in test) == len(test) / 2
    assert {record.category for record in test} == {"safety", None}
