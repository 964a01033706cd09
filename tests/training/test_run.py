import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import GenerationConfig, TrainerCallback

from steering.manifest import Manifest
from training.config import Recipe, Splits
from training.loading import control_tokens, load
from training.records import Message, Record, RecordError, read_records
from training.run import RunError, is_finished, train

CHILD = """
import runpy, sys
from training import cli, recipes
recipes.RECIPES["tiny"] = runpy.run_path(sys.argv[1])["tiny"]
sys.exit(cli.main(sys.argv[2:]))
"""


class StopAt(TrainerCallback):
    """Stops like Ctrl-C, at the given step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, *event: Any, **_: Any) -> None:
        if event[1].global_step == self._step:
            raise KeyboardInterrupt


def quick(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.model_copy(
        update={"sft": recipe.sft.model_copy(update={"epochs": 0.5, "save_every": 2, **changes})}
    )


def test_a_finished_checkpoint_meets_the_contract(finished: Path, recipe: Recipe) -> None:
    splits = recipe.data(recipe.seed)
    model, tokenizer = load(finished)
    manifest = Manifest.load(finished)
    assert manifest == splits.manifest
    assert control_tokens(manifest, tokenizer).ids == tuple(range(len(tokenizer)))[-3:]
    assert model.config.hidden_size == recipe.model.hidden_size
    weights = load_file(finished / "model.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {"torch.float32"}
    generation = GenerationConfig.from_pretrained(finished)
    assert generation.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert generation.pad_token_id == tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert (finished / "chat_template.jinja").is_file()
    config = json.loads((finished / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["vocab_size"] == len(tokenizer)
    calibration = read_records(finished / "prompts" / "calibration.jsonl", "calibration")
    assert calibration == list(splits.calibration)
    assert read_records(finished / "prompts" / "test.jsonl", "calibration") == list(splits.test)
    assert not finished.with_name("tiny.part").exists()


def test_an_interrupted_run_goes_on(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="training")
    output, part = tmp_path / "out", tmp_path / "out.part"
    with pytest.raises(KeyboardInterrupt):
        train(quick(recipe), output, callbacks=[StopAt(3)])
    assert not output.exists()
    start = (part / "start" / "model.safetensors").stat().st_mtime_ns
    with pytest.raises(KeyboardInterrupt):
        train(quick(recipe), output, callbacks=[StopAt(5)])
    assert (part / "start" / "model.safetensors").stat().st_mtime_ns == start
    train(quick(recipe), output)
    assert is_finished(output)
    assert not part.exists()
    assert "Going on from step 2." in caplog.messages
    assert "Going on from step 4." in caplog.messages


def test_other_settings_start_anew(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="training")
    output = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train(quick(recipe), output, callbacks=[StopAt(3)])
    train(quick(recipe, learning_rate=1e-3), output)
    assert is_finished(output)
    assert "had other settings or data: starting anew" in caplog.text
    assert "Going on from step" not in caplog.text


def test_a_kill_while_the_checkpoint_is_written_loses_nothing(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            train(quick(recipe), output)
    assert not output.exists()
    train(quick(recipe), output)
    assert is_finished(output)


def test_a_finished_checkpoint_is_replaced_only_by_force(recipe: Recipe, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()  # An empty folder is not in the way.
    train(quick(recipe), output)
    (output / "note").touch()
    with pytest.raises(RunError, match="holds a finished checkpoint"):
        train(quick(recipe), output)
    with pytest.raises(KeyboardInterrupt):
        train(quick(recipe), output, force=True, callbacks=[StopAt(1)])
    assert (output / "note").exists()
    train(quick(recipe), output, force=True)
    assert is_finished(output)
    assert not (output / "note").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["out", "out.part"])
@pytest.mark.parametrize("force", [False, True])
def test_other_peoples_folders_are_left_alone(
    recipe: Recipe, tmp_path: Path, name: str, force: bool
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").touch()
    with pytest.raises(RunError, match=f"{name} (exists and is no checkpoint|is in the way)"):
        train(recipe, tmp_path / "out", force=force)
    assert (tmp_path / name / "thesis.txt").exists()


def with_data(recipe: Recipe, **changes: Any) -> Recipe:
    splits: Splits = replace(recipe.data(0), **changes)
    return recipe.model_copy(update={"data": lambda _: splits})


def test_faulty_data_train_nothing(recipe: Recipe, tmp_path: Path) -> None:
    unknown = Record((Message("user", "a"), Message("assistant", "b")), "weather")
    unanswered = Record((Message("user", "a"),), None, id="x7")
    faulty = with_data(recipe, train=[unknown, unanswered], test=[unknown])
    with pytest.raises(RecordError) as caught:
        train(faulty, tmp_path / "out")
    assert caught.value.faults == (
        "training record 0: category: 'weather' is unknown; known are safety, temporal",
        "training record x7: a training record must end in an assistant turn, not in 'user'",
        "test record 0: category: 'weather' is unknown; known are safety, temporal",
    )
    assert not list(tmp_path.iterdir())


def test_without_records_there_is_nothing_to_train(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no training records"):
        train(with_data(recipe, train=[]), tmp_path / "out")
    with pytest.raises(RunError, match="no record fits into max_length=4"):
        train(quick(recipe, max_length=4), tmp_path / "out")


def test_splits_without_prompts_write_none(recipe: Recipe, tmp_path: Path) -> None:
    train(with_data(quick(recipe), calibration=[], test=[]), tmp_path / "out")
    assert not (tmp_path / "out" / "prompts").exists()


def test_ctrl_c_and_the_same_command_again(tmp_path: Path) -> None:
    output = tmp_path / "out"
    conftest = Path(__file__).with_name("conftest.py")
    command = [sys.executable, "-c", CHILD, str(conftest), "run", "tiny", "--output", str(output)]
    child = subprocess.Popen(
        [*command, "--set", "sft.epochs=1000"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out.part").glob("saves/checkpoint-*/complete")):
        assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert said.endswith("\nInterrupted. Run the same command again to go on.\n")
    assert "Traceback" not in said
    assert not output.exists()
    # The same training, shortened to what the saves have done already: nothing but the end is left.
    run = tmp_path / "out.part" / "run.json"
    run.write_text(run.read_text().replace('"epochs": 1000.0', '"epochs": 1.0'))
    again = subprocess.run(
        [*command, "--set", "sft.epochs=1"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "default"},
    )
    assert again.returncode == 0, again.stderr
    assert "Going on with the interrupted run" in again.stderr
    assert "Going on from step" in again.stderr
    assert f"demur-calibrate {output} {output}/prompts/calibration.jsonl" in again.stdout
    assert is_finished(output)
