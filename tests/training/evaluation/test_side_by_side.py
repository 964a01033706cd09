from pathlib import Path

import pytest

from training.evaluation.replies import write_replies
from training.evaluation.side_by_side import main

from .test_compare import run


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, signal in [("weak", 0.5), ("strong", 4.0)]:
        for seed in range(2):
            folder = tmp_path / f"{name}-{seed}"
            folder.mkdir()
            write_replies(run(seed, signal), folder)
    return tmp_path


def test_runs_of_two_models_from_one_command(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"{name}={results}/{name}-0,{results}/{name}-1" for name in ("weak", "strong")]
    assert main([*given, "--output", str(results / "out")]) == 0
    table = (results / "out" / "comparison.md").read_text()
    assert table in capsys.readouterr().out
    assert "Runs: weak 2, strong 2." in table
    assert "## Differences from weak" in table
    assert {path.name for path in (results / "out").iterdir()} == {
        *("comparison.md", "comparison.png", "comparison.svg"),
    }


def test_what_cannot_be_compared_is_said(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [f"a={results}/weak-0,{results}/weak-1", f"b={results}/none"]
    assert main([*given, "--output", str(results / "out")]) == 1
    assert "is no file of replies" in capsys.readouterr().err
    assert not (results / "out").exists()


def test_a_name_that_is_given_twice_is_told(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"{name}={results}/{name}-0" for name in ("weak", "strong", "weak")]
    with pytest.raises(SystemExit, match="2"):
        main([*given, "--output", str(results / "out")])
    assert "weak is given twice" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["a", "a=", "=b", "a=,"])
def test_other_arguments_exit_with_2(text: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([text, "--output", "x"])
