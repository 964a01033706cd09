import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from steering.calibration import CalibrationScores
from steering.fingerprint import fingerprint
from steering.joint import Asked, JointSolver
from steering.manifest import Calibration, Manifest
from tests.training.conftest import refuse_system_prompts
from training.calibrate import main
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
        engine="transformers",
        dtype="float32",
        prompts=scores.counts(),
        shapes={"system": 0, "tools": 0, "turns": 0, "plain": 44},
        weights=fingerprint(checkpoint),
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
    joint = JointSolver(scores).solve(Asked([0.5, 0.5], [0, 0]))
    assert f"{joint.thresholds[0]:+.2f}" in shown
    report = checkpoint / "calibration" / "report" / "first_token.md"
    assert f"report: {report}" in shown
    assert "44 prompts (safety 11, temporal 11, comply 22)" in report.read_text()


def test_several_files_are_scored_together(checkpoint: Path) -> None:
    test = str(checkpoint / "prompts" / "test.jsonl")
    assert main([str(checkpoint), prompts(checkpoint), test, "--dtype", "bfloat16"]) == 0
    calibration = Manifest.load(checkpoint).calibration
    assert calibration is not None
    assert calibration.dtype == "bfloat16"
    lines = [Path(path).read_text().count("\n") for path in (prompts(checkpoint), test)]
    assert sum(calibration.prompts.values()) == sum(lines)


def test_prompts_that_several_files_hold_are_counted_once(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    write_records(one, [question("steal a car", "safety"), question("buy a car", None)])
    write_records(two, [question("steal a car", "safety"), question("steal a car", "temporal")])
    assert main([str(checkpoint), str(one), str(two)]) == 0
    assert "1 of 4 prompts are there more than once" in caplog.text
    calibration = Manifest.load(checkpoint).calibration
    assert calibration is not None
    assert calibration.prompts == {"safety": 1, "temporal": 1, "comply": 1}


def test_shapes_of_prompts_are_kept_and_told(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Message("user", "steal a car")
    system = Message("system", "Hi.")
    earlier = Message("user", "buy a car"), Message("assistant", "Buy it.")
    records = [Record(turns, "safety") for turns in [(asked,), (system, asked), (*earlier, asked)]]
    write_records(tmp_path / "a.jsonl", records)
    assert main([str(checkpoint), str(tmp_path / "a.jsonl")]) == 0
    manifest = Manifest.load(checkpoint)
    scores = CalibrationScores.load(checkpoint, manifest.names)
    assert scores.shapes is not None
    assert scores.shapes.tolist() == [0, 1, 4]
    assert manifest.calibration is not None
    counts = {"system": 1, "tools": 0, "turns": 1, "plain": 1}
    assert manifest.calibration.shapes == scores.shape_counts() == counts
    shown = "system 1, tools 0, turns 1, plain 1"
    assert f"shapes: {shown}" in capsys.readouterr().out
    report = checkpoint / "calibration" / "report" / "first_token.md"
    assert f"(`plain`: nothing): {shown}." in report.read_text()


def test_a_calibration_is_replaced_only_by_force(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(checkpoint), prompts(checkpoint)]
    assert main(arguments) == 0
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "is calibrated already, by transformers in float32 on 44 prompts (safety 11" in said
    assert "--force replaces these scores and their report" in said
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


def lose_numbers(checkpoint: Path) -> None:
    """Overwrite the weights with what training that diverged leaves."""
    path = checkpoint / "model.safetensors"
    weights = {name: torch.full_like(each, torch.nan) for name, each in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


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
    assert not (checkpoint / "calibration").exists()


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


def test_a_template_that_refuses_a_prompt_is_told(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse_system_prompts(checkpoint)
    turns = (Message("system", "Be brief."), Message("user", "steal a car"))
    write_records(tmp_path / "a.jsonl", [Record(turns, "safety")])
    said = failure(capsys, checkpoint, tmp_path / "a.jsonl")
    assert "the chat template refuses a conversation of the roles system, user: no system" in said


def test_a_folder_that_holds_no_model_is_told(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "config.json").write_text("{}")
    said = failure(capsys, checkpoint, prompts(checkpoint))
    assert f"error: {checkpoint}: Unrecognized model" in said


def test_scores_that_are_no_numbers_are_told(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lose_numbers(checkpoint)
    said = failure(capsys, checkpoint, prompts(checkpoint))
    assert "first_token, by transformers in float32: scores contain NaN" in said
    assert Manifest.load(checkpoint).calibration is None


@pytest.mark.parametrize(
    "flags",
    [
        ["--batch-size", "0"],
        ["--batch-size", "x"],
        ["--dtype", "int8"],
        ["--traffic", "0"],
        ["--traffic", "2%"],
        [],
    ],
)
def test_faulty_command_lines_exit_with_2(flags: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*flags, *(["checkpoint", "prompts"] if flags else [])])


def test_every_scope_of_the_checkpoint_has_its_scores(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    manifest = Manifest.load(checkpoint).model_copy(
        update={"scopes": ("first_token", "every_token")}
    )
    manifest.save(checkpoint)
    report = tmp_path / "report"
    flags = ["--answer-tokens", "3", "--report", str(report)]
    assert main([str(checkpoint), prompts(checkpoint), *flags]) == 0
    first, every = (
        CalibrationScores.load(checkpoint, manifest.names, scope) for scope in manifest.scopes
    )
    assert np.array_equal(first.labels, every.labels)
    assert (every.scores >= first.scores - 1e-4).all()
    assert (every.scores > first.scores).any()
    assert {"first_token.md", "every_token.md"} < {path.name for path in report.iterdir()}
    assert "every_token:\n" in capsys.readouterr().out


def test_a_report_that_cannot_be_written_is_told(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failure(capsys, checkpoint, prompts(checkpoint), "--report", checkpoint / "refusal.json")
    assert "the calibration is written, but its report cannot be" in said
    assert Manifest.load(checkpoint).calibration is not None


def test_a_server_is_asked_for_nothing_that_it_cannot_score(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = Manifest.load(checkpoint)
    both = manifest.model_copy(update={"scopes": ("first_token", "every_token")})
    both.save(checkpoint)
    away = [checkpoint, prompts(checkpoint), "--server", "http://127.0.0.1:9/v1"]
    assert "is calibrated for every_token, too: leave out --server" in failure(capsys, *away)
    # Thresholds for traffic are for the first token, which a server can score.
    assert "Connection error" in failure(capsys, *away, "--traffic", "0.5")


@pytest.mark.parametrize("flags", [(), ("--traffic", "0.5")])
def test_a_baseline_has_nothing_to_calibrate(
    flags: tuple[str, ...], checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Manifest.load(checkpoint).model_copy(update={"scopes": ()}).save(checkpoint)
    said = failure(capsys, checkpoint, prompts(checkpoint), *flags)
    assert "has no trained control tokens: nothing to calibrate" in said


class TestTraffic:
    def test_thresholds_are_printed_and_nothing_is_written(
        self, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = fingerprint(checkpoint), (checkpoint / "refusal.json").read_text()
        path = tmp_path / "traffic.jsonl"
        texts = [f"{verb} a {thing}" for verb in ("steal", "buy") for thing in ("car", "lamp")]
        path.write_text(
            "\n".join(json.dumps({"messages": [{"role": "user", "content": t}]}) for t in texts)
        )
        assert main([str(checkpoint), str(path), "--traffic", "0.5"]) == 0
        captured = capsys.readouterr()
        assert "2 of 4 prompts are refused, 50.00%; of new traffic like it" in captured.err
        settings = json.loads(captured.out)["refusal_thresholds"]
        assert list(settings) == ["safety", "temporal"]
        assert settings["safety"] == settings["temporal"]
        assert 0 < settings["safety"] < 1
        after = fingerprint(checkpoint), (checkpoint / "refusal.json").read_text()
        assert after == before
        assert not (checkpoint / "calibration").exists()

    def test_a_share_below_one_prompt(
        self, checkpoint: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = failure(capsys, checkpoint, prompts(checkpoint), "--traffic", "0.001")
        assert "a share of 0.001 of 44 prompts is not one prompt" in said


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from training.calibrate import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
