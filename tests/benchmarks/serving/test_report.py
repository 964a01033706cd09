import json
from pathlib import Path

import pytest

from benchmarks.serving.bench import write
from benchmarks.serving.cells import NATURAL
from benchmarks.serving.report import report, summary
from benchmarks.serving.results import Journal, Many, Saturation
from tests.benchmarks.serving.made import MEMORY, requests, run


def journal(folder: Path) -> Journal:
    """Two repetitions: the gate costs a step at the start, the guard four."""
    made = Journal(folder)
    made.add(Saturation(requests_per_s=2.0))
    for repetition, step in enumerate((10.0, 20.0)):
        for arm, first, refused in [
            ("a", 1, 0),
            ("a2", 1, 0),
            ("b", 2, 0),
            ("c", 2, 2),
            ("e", 5, 0),
        ]:
            cell = requests(step, first=first, refused=refused)
            made.add(run(arm, repetition, **{"1 at once": cell, NATURAL: cell}))
    made.add(Many(servers=3, memory=MEMORY))
    return made


def test_tables_of_ratios_and_medians(tmp_path: Path) -> None:
    lines = list(report(journal(tmp_path)))
    at = lines.index("## Ratios: time to the first token, ms")
    assert lines[at + 2 : at + 8] == [
        "| | 1 at once | natural |".replace("| |", "|  |"),
        "| --- | --- | --- |",
        "| a2 / a | 1.000 (1.000 to 1.000) | 1.000 (1.000 to 1.000) |",
        "| b / a | 2.000 (2.000 to 2.000) | 2.000 (2.000 to 2.000) |",
        "| c / b | 1.000 (1.000 to 1.000) | 1.000 (1.000 to 1.000) |",
        "| e / b | 2.500 (2.500 to 2.500) | 2.500 (2.500 to 2.500) |",
    ]
    at = lines.index("## By how many decode steps the first token comes later")
    assert "| b / a | 1.000 (1.000 to 1.000) | 1.000 (1.000 to 1.000) |" in lines[at : at + 8]
    at = lines.index("## Medians: end to end, ms")
    assert "| b Demur, everything answered | 180 | 180 |" in lines[at : at + 8]
    assert "- b against a, throughput: no cost at 1 at once" in lines
    assert "- b against a, tpot: no cost at 1 at once" in lines
    assert "- b against a, first token within a step: no cost at 1 at once" in lines
    assert "- c against b, first token within a step: no cost at 1 at once" in lines
    at = lines.index("## Ratios: tokens a second")
    assert "| b / a | 1.000 (1.000 to 1.000) | - |" in lines[at : at + 8]


def test_answers_and_refusals_apart(tmp_path: Path) -> None:
    lines = list(report(journal(tmp_path)))
    own = [line for line in lines if line.startswith("| c Demur, mixed settings | ")]
    assert any("| answered | 11 |" in line for line in own)
    assert any("| refused | 11 |" in line for line in own)
    assert not any("| b Demur, everything answered | refused" in line for line in lines)


def test_memory_of_several_servers(tmp_path: Path) -> None:
    lines = list(report(journal(tmp_path)))
    assert "| f 3 stock servers, one per refusal setting | - | - | 900 | 700 | - |" in lines


def test_the_summary_is_json(tmp_path: Path) -> None:
    found = json.loads(json.dumps(summary(journal(tmp_path))))
    assert found["b/a"]["1 at once"]["first_text"]["value"] == pytest.approx(2)
    assert "d/a" not in found


def test_everything_is_written_even_of_a_single_arm(tmp_path: Path) -> None:
    alone = Journal(tmp_path)
    alone.add(run("b", 0, one=requests()))
    names = {path.name for path in write(alone, tmp_path)}
    assert {"report.md", "summary.json", "ratios.svg", "first-token.png", "memory.svg"} <= names
