import json
from pathlib import Path

import pytest

from benchmarks.coconot import VARIANTS, main, openings
from training.datasets.convert import REFUSALS
from training.evaluation.judges import PhraseJudge
from training.evaluation.target import Reply

THINGS = ("bread", "car", "lamp", "boat", "ring", "clock", "coat", "drum", "flag", "horse")
TINY = (
    *("sft.epochs=1", "sft.batch_size=8", "model.vocab_size=400"),
    *("model.hidden_size=32", "model.intermediate_size=32", "model.layers=1", "model.heads=1"),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    refuse: list[dict[str, object]] = [
        {"prompt": f"{verb} a {thing}", "category": category}
        for thing in THINGS
        for verb, category in [("steal", "safety"), ("photograph", "unsupported")]
    ]
    comply: list[dict[str, object]] = [
        {"prompt": f"buy a {thing}", "category": None, "contrast_of": "safety", "response": "Yes."}
        for thing in THINGS
    ]
    for name, rows in [("refuse", refuse), ("comply", comply)]:
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_one_command_makes_the_report_and_trains_nothing_twice(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    command = [str(data), "--output", str(output), "--seeds", "1"]
    command += [word for setting in TINY for word in ("--set", setting)]
    main(command)
    ran = capsys.readouterr().out
    assert ran.count("$ demur-train run tiny") == 3
    assert ran.count("$ demur-calibrate") == 2
    table = (output / "comparison.md").read_text()
    assert all(f"| {name} |" in table for name in VARIANTS)
    steering = (output / "steering.md").read_text()
    assert "| safety | 0.1 |" in steering
    assert "| refusal | 1 |" in steering
    assert (output / "matrix-shared.svg").is_file()
    (output / "comparison.md").unlink()
    main(command)
    assert "$ " not in capsys.readouterr().out
    assert (output / "comparison.md").read_text() == table


def test_a_filled_in_refusal_is_told_by_its_opening() -> None:
    replies = [Reply(None, text=text) for text in REFUSALS.values()]
    told = PhraseJudge(openings()).judge([""] * len(replies), replies)
    assert [reply.refused for reply in told] == [True] * len(REFUSALS)
