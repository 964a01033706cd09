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
import torch
import yaml
from safetensors.torch import load_file
from transformers import GenerationConfig, TrainerCallback

from steering.manifest import Manifest
from steering.refusal_templates import TEMPLATES_FILE, RefusalTemplates
from tests.training.conftest import measured
from training import calibrate
from training.config import MethodsConfig, Recipe, ScratchConfig, Splits
from training.datasets.load import load_records
from training.loading import control_tokens, load
from training.records import Message, Record, RecordError
from training.run import train
from training.run_folder import FOLDER, METRICS
from training.work_folder import RunError, is_finished

KILLED_CHILD = """
import os, runpy, signal, sys
from pathlib import Path
from transformers import TrainerCallback
from training.run import train
from training.run_folder import FOLDER, METRICS

class Kill(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

tests = runpy.run_path(sys.argv[1])
train(tests["measured"](tests["tiny"]()), Path(sys.argv[2]), callbacks=[Kill()])
"""
CHILD = """
import runpy, sys
from training import cli, recipes
recipes.RECIPES["toy"] = runpy.run_path(sys.argv[1])["tiny"]
sys.exit(cli.main(sys.argv[2:]))
"""


class StopAt(TrainerCallback):
    """Stops like Ctrl-C, at the given step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, *event: Any, **_: Any) -> None:
        if event[1].global_step == self._step:
            raise KeyboardInterrupt


def metrics_of(checkpoint: Path) -> list[dict[str, Any]]:
    lines = (checkpoint / FOLDER / METRICS).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def quick(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.model_copy(
        update={"sft": recipe.sft.model_copy(update={"epochs": 0.5, "save_every": 2, **changes})}
    )


def test_a_finished_checkpoint_meets_the_contract(
    finished: Path, recipe: Recipe, sizes: ScratchConfig
) -> None:
    splits = recipe.data(recipe.seed)
    model, tokenizer = load(finished)
    manifest = Manifest.load(finished)
    assert manifest == splits.manifest
    templates = yaml.safe_load((finished / TEMPLATES_FILE).read_text(encoding="utf-8"))
    assert RefusalTemplates.model_validate(templates) == splits.templates
    assert control_tokens(manifest, tokenizer).ids == tuple(range(len(tokenizer)))[-3:]
    assert model.config.hidden_size == sizes.hidden_size
    weights = load_file(finished / "model.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {"torch.float32"}
    generation = GenerationConfig.from_pretrained(finished)
    assert generation.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert generation.pad_token_id == tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert (finished / "chat_template.jinja").is_file()
    config = json.loads((finished / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["vocab_size"] == len(tokenizer)
    calibration = load_records([str(finished / "prompts" / "calibration.jsonl")])
    assert calibration == list(splits.calibration)
    assert load_records([str(finished / "prompts" / "test.jsonl")]) == list(splits.test)
    assert not finished.with_name("tiny.part").exists()
    losses = [line["loss"] for line in metrics_of(finished) if "loss" in line]
    assert losses[-1] < losses[0]


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
    unanswered = Record((Message("user", "a"),), "safety", id="x7", harmful="b")
    faulty = with_data(recipe, train=[unknown, unanswered], test=[unknown])
    with pytest.raises(RecordError) as caught:
        train(faulty, tmp_path / "out")
    assert caught.value.faults == (
        "training record 0: category: 'weather' is unknown; known are safety, temporal",
        "training record x7: a triple must end in an assistant turn, its safe answer",
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
    command = [sys.executable, "-c", CHILD, str(conftest), "run", "toy", "--output", str(output)]
    with subprocess.Popen(
        [*command, "--set", "sft.epochs=1000"], stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            deadline = time.monotonic() + 120
            while not list((tmp_path / "out.part").glob("saves/checkpoint-*/complete")):
                assert child.poll() is None, child.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.1)
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=60)
        finally:
            child.kill()
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


def test_a_killed_run_goes_on_along_the_same_loss_curve(recipe: Recipe, tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    train(measured(recipe), straight)
    expected = metrics_of(straight)
    conftest = Path(__file__).with_name("conftest.py")
    # Between two saves of the first epoch, and in the second epoch.
    for step in ("17", "31"):
        child = subprocess.run(
            [sys.executable, "-c", KILLED_CHILD, str(conftest), str(killed), step],
            capture_output=True,
            text=True,
            check=False,
        )
        assert child.returncode == -signal.SIGKILL, child.stderr
        assert not killed.exists()
    assert [save.name for save in killed.with_name("killed.part").glob("saves/*")]
    train(measured(recipe), killed)
    found = metrics_of(killed)
    curve = [(line["step"], line["loss"]) for line in expected if "loss" in line]
    assert [step for step, _ in curve] == list(range(1, len(curve) + 1))
    assert len(curve) > 31
    # The same steps in the same order, none twice, and the same measurements between them.
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    for before, after in zip(expected, found, strict=True):
        for name in before.keys() & {"loss", "eval_loss", "eval_loss_rto", "eval_auc"}:
            assert after[name] == pytest.approx(before[name], rel=1e-4)
    for name, weight in load_file(straight / "model.safetensors").items():
        again = load_file(killed / "model.safetensors")[name]
        torch.testing.assert_close(again, weight, rtol=1e-4, atol=1e-5)


def with_methods(recipe: Recipe, **settings: Any) -> Recipe:
    splits = recipe.data(0)
    triples = [
        replace(record, harmful="Take it. Run. Hide it.")
        for record in splits.train
        if record.category
    ]
    changed = with_data(quick(recipe), train=[*splits.train, *triples])
    return changed.model_copy(update={"methods": MethodsConfig.model_validate(settings)})


def test_a_checkpoint_says_where_it_was_trained_to_refuse(recipe: Recipe, tmp_path: Path) -> None:
    train(with_methods(recipe), tmp_path / "derta")
    assert Manifest.load(tmp_path / "derta").scopes == ("first_token", "every_token")
    train(with_methods(recipe, triples="prefix", tokens="shared"), tmp_path / "recaug")
    assert Manifest.load(tmp_path / "recaug").scopes == ("first_token",)
    assert Manifest.load(tmp_path / "recaug").tokens == ("<|respond|>", "<|refuse|>")


def test_a_baseline_cannot_be_calibrated(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "vanilla"
    train(with_methods(recipe, tokens="none", triples="safety", transition="word"), output)
    assert Manifest.load(output).scopes == ()
    assert calibrate.main([str(output), str(output / "prompts" / "calibration.jsonl")]) == 1
    assert "has no trained control tokens" in capsys.readouterr().err


def test_other_methods_start_anew(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="training")
    with pytest.raises(KeyboardInterrupt):
        train(with_methods(recipe), tmp_path / "out", callbacks=[StopAt(3)])
    train(with_methods(recipe, triples="rto"), tmp_path / "out")
    assert "had other settings or data: starting anew" in caplog.text
