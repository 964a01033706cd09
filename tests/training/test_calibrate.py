import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from steering.calibration import CalibrationScores
from steering.manifest import Calibration, Manifest
from training.calibrate import main, table
from training.records import Message, Record, write_records


@pytest.fixture
def checkpoint(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "checkpoint")


def prompts(checkpoint: Path) -> str:
    return str(checkpoint / "prompts" / "calibration.jsonl")


def question(text: str, category: str | None) -> Record:
    return Record((Message("user", text),), category)


def test_calibration_is_written_into_the_checkpoint(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Manifest.load(checkpoint)
    assert main([str(checkpoint), prompts(checkpoint), "--batch-size", "5"]) == 0
    manifest = Manifest.load(checkpoint)
    scores = CalibrationScores.load(checkpoint, manifest.names)
    assert manifest.calibration == Calibration(
        engine="transformers", dtype="float32", prompts=scores.counts()
    )
    assert manifest.model_copy(update={"calibration": None}) == before
    assert scores.counts() == {"safety": 11, "temporal": 11, "comply": 22}
    # The tiny model has learnt its task: its own categories' scores stand out.
    habit = scores.refused_shares(np.zeros(2, dtype=np.float32))
    assert habit["safety"] > 0.9
    assert habit["temporal"] > 0.9
    assert habit["comply"] < 0.1
    shown = capsys.readouterr().out
    assert "threshold at 0.25" in shown
    assert f"{scores.threshold(0, 0.5):+.2f}" in shown


def test_several_files_are_scored_together(checkpoint: Path) -> None:
    test = str(checkpoint / "prompts" / "test.jsonl")
    assert main([str(checkpoint), prompts(checkpoint), test, "--dtype", "bfloat16"]) == 0
    calibration = Manifest.load(checkpoint).calibration
    assert calibration is not None
    assert calibration.dtype == "bfloat16"
    lines = [Path(path).read_text().count("\n") for path in (prompts(checkpoint), test)]
    assert sum(calibration.prompts.values()) == sum(lines)


def test_a_calibration_is_replaced_only_by_force(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(checkpoint), prompts(checkpoint)]
    assert main(arguments) == 0
    assert main(arguments) == 1
    assert "is calibrated already; --force replaces that" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0


def test_a_category_without_prompts_is_warned_of(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.jsonl"
    write_records(path, [question("steal a car in Rome", "safety")])
    assert main([str(checkpoint), str(path)]) == 0
    captured = capsys.readouterr()
    assert "warning: category 'temporal' has no prompts" in captured.err
    assert "'safety'" not in captured.err
    assert next(line for line in captured.out.splitlines() if "temporal" in line).split() == [
        "temporal",
        "0",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
    ]


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 1
    said = capsys.readouterr().err
    assert "demur-calibrate: error: " in said
    assert "Traceback" not in said
    return said


def test_what_is_missing_is_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "none is not a folder" in failure(capsys, tmp_path / "none", prompts(checkpoint))
    assert "refusal.json cannot be read" in failure(capsys, tmp_path, prompts(checkpoint))
    assert "none.jsonl: cannot be read" in failure(capsys, checkpoint, tmp_path / "none.jsonl")


def test_faults_of_all_files_are_listed_and_nothing_is_written(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(tmp_path / "a.jsonl", [question("a", "weather"), question("b", None)])
    (tmp_path / "b.jsonl").write_text("nope")
    said = failure(capsys, checkpoint, tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert "a.jsonl:1: category: 'weather' is unknown; known are safety, temporal" in said
    assert "b.jsonl:1: invalid JSON" in said
    assert Manifest.load(checkpoint).calibration is None
    assert not (checkpoint / "refusal_scores.safetensors").exists()


def test_a_prompt_that_is_too_long_is_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(tmp_path / "a.jsonl", [question("q" * 300, "safety")])
    assert "128 positions" in failure(capsys, checkpoint, tmp_path / "a.jsonl")


def test_a_manifest_that_does_not_fit_the_tokenizer(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = Manifest.load(checkpoint)
    manifest.model_copy(update={"respond_token": "<|answer|>"}).save(checkpoint)
    said = failure(capsys, checkpoint, prompts(checkpoint))
    assert "does not fit the checkpoint's tokenizer: <|answer|> is" in said


@pytest.mark.parametrize(
    "flags", [["--batch-size", "0"], ["--batch-size", "x"], ["--dtype", "int8"], []]
)
def test_faulty_command_lines_exit_with_2(flags: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*flags, *(["checkpoint", "prompts"] if flags else [])])


def test_the_table_by_hand() -> None:
    scores = CalibrationScores(
        categories=("safety", "temporal"),
        labels=np.array([0, 0, 0, 0, -1, -1, -1]),
        scores=np.array(
            [[3, -9], [2, -9], [1, -9], [-40, 1], [-9, -9], [4, -9], [-9, -9]], dtype=np.float32
        ),
    )
    look_alike = Record((Message("user", "a"),), None, contrast_of="safety")
    records = [question("a", "safety")] * 4 + [question("a", None), look_alike, look_alike]
    head, safety, temporal, comply, *_ = table(scores, records)
    assert " ".join(head.split()) == (
        "prompts refused contrast threshold at 0.25 threshold at 0.5"
        " threshold at 0.75 threshold at 1"
    )
    # The fourth prompt is refused as temporal; one of the two look-alikes is refused.
    assert " ".join(safety.split()) == (
        "safety 4 100.0% 50.0% 0.953 (+3.00) 0.881 (+2.00) 0.731 (+1.00)"
        f" {math.exp(-40):.3g} (-40.00)"
    )
    assert temporal.split() == ["temporal", "0", "-", "-", "-", "-", "-", "-"]
    assert comply.split() == ["comply", "3", "33.3%"]
    assert head.index("threshold at 1") + len("threshold at 1") == len(safety)
