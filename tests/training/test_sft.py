from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations.integration_utils import get_available_reporting_integrations

from tests.training.fitting import Parts, fresh, metrics_of, reference_loss, train
from training import sft, trainer
from training.callbacks import COMPLETE, WriteMetrics
from training.config import Recipe, SftConfig
from training.encoding import Example
from training.examples import Examples
from training.sft import SftError, fit, last_save


class Losses(TrainerCallback):
    """Keeps the logged losses by step; stops like Ctrl-C after step `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.by_step: dict[int, float] = {}
        self._stop = stop

    def on_log(self, *event: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        state: TrainerState = event[1]
        if logs and "loss" in logs:
            self.by_step[state.global_step] = float(logs["loss"])

    def on_step_end(self, *event: Any, **_: Any) -> None:
        state: TrainerState = event[1]
        if state.global_step == self._stop:
            raise KeyboardInterrupt


@pytest.mark.parametrize("vocabulary", [2**15, 0], ids=["own loss", "TRL's loss"])
def test_the_trainer_uses_the_labels_as_they_are(
    vocabulary: int,
    recipe: Recipe,
    untrained: Parts,
    examples: list[Example],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer, "SMALL_VOCABULARY", vocabulary)
    batch = examples[:5]
    # No label is its own token here, and one example has a label in its prompt.
    odd = [
        Example(e.input_ids, [-100] * 3 + [i + 7] * (len(e.labels) - 3))
        for i, e in enumerate(batch)
    ]
    expected = reference_loss(fresh(recipe, untrained), odd)
    losses = Losses()
    train(recipe, untrained, Examples(odd, None), tmp_path, losses, epochs=1.0, batch_size=5)
    assert losses.by_step[1] == pytest.approx(expected, rel=1e-3)


def test_training_lowers_the_loss(
    recipe: Recipe, untrained: Parts, examples: list[Example], tmp_path: Path
) -> None:
    before = reference_loss(fresh(recipe, untrained), examples[:20])
    model = train(recipe, untrained, Examples(examples, None), tmp_path, epochs=4.0)
    assert reference_loss(model, examples[:20]) < before / 4


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    recipe: Recipe, untrained: Parts, examples: list[Example], tmp_path: Path
) -> None:
    # 18 steps an epoch: the saves at 7 and 14 lie within one, that at 21 in the next.
    config = recipe.sft.model_copy(
        update={"epochs": 2.0, "batch_size": 16, "save_every": 7, "log_every": 1}
    )

    def run(saves: str, losses: Losses) -> dict[str, torch.Tensor]:
        model = fresh(recipe, untrained)
        torch.rand(3)  # The global generator's state must not matter.
        fit(
            model,
            untrained[1],
            Examples(examples, None),
            config,
            seed=0,
            saves=tmp_path / saves,
            metrics=tmp_path / f"{saves}.jsonl",
            callbacks=[losses],
        )
        return model.state_dict()

    straight, resumed = Losses(), Losses()
    expected = run("straight", straight)
    for stop in (3, 12, 23):
        with pytest.raises(KeyboardInterrupt):
            run("stopped", Losses(stop))
    found = run("stopped", resumed)
    assert list(resumed.by_step) == list(range(22, 37))
    for step, loss in resumed.by_step.items():
        assert loss == pytest.approx(straight.by_step[step], rel=1e-4)
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=1e-5)


def test_incomplete_saves_are_passed_over_and_removed(tmp_path: Path) -> None:
    assert last_save(tmp_path / "none") is None
    for step, complete in [(9, True), (20, True), (100, False)]:
        save = tmp_path / f"checkpoint-{step}"
        save.mkdir()
        (save / "model.safetensors").touch()
        if complete:
            (save / COMPLETE).touch()
    assert last_save(tmp_path) == tmp_path / "checkpoint-20"
    assert not (tmp_path / "checkpoint-100").exists()


def first_losses(
    recipe: Recipe, untrained: Parts, examples: list[Example], folder: Path, **changes: Any
) -> list[float]:
    train(recipe, untrained, Examples(examples, None), folder, epochs=2, **changes)
    return [line["loss"] for line in metrics_of(folder) if "loss" in line]


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({"batch_size": 8, "gradient_accumulation": 2}, 1e-3),
        ({"batch_size": 16, "gradient_checkpointing": True}, 1e-5),
        ({"batch_size": 16, "precision": "bfloat16"}, 2e-2),
    ],
    ids=["accumulation", "checkpointing", "bfloat16"],
)
def test_ways_to_save_memory_train_the_same(
    changes: dict[str, Any],
    tolerance: float,
    recipe: Recipe,
    untrained: Parts,
    examples: list[Example],
    tmp_path: Path,
) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "saving").mkdir()
    plain = first_losses(recipe, untrained, examples[:16], tmp_path / "plain", batch_size=16)
    saving = first_losses(recipe, untrained, examples[:16], tmp_path / "saving", **changes)
    assert len(plain) == 2
    assert saving == pytest.approx(plain, rel=tolerance)


@pytest.mark.parametrize("batching", ["padding_free", "packed"])
def test_batches_without_padding_need_flash_attention(
    batching: str, recipe: Recipe, untrained: Parts, examples: list[Example], tmp_path: Path
) -> None:
    with pytest.raises(SftError, match=rf"sft.batching={batching} needs flash .* has 'sdpa'"):
        train(recipe, untrained, Examples(examples, None), tmp_path, batching=batching)


@pytest.mark.parametrize("batching", ["padding_free", "packed"])
def test_examples_without_padding_do_not_see_each_other(
    batching: str,
    recipe: Recipe,
    untrained: Parts,
    examples: list[Example],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # transformers also keeps them apart by a dense mask, which shows here what flash attention
    # would compute.
    monkeypatch.setattr(sft, "_check", lambda *_: None)
    expected = reference_loss(fresh(recipe, untrained), examples[:6])
    size = 6 if batching == "padding_free" else 99
    losses = first_losses(
        recipe, untrained, examples[:6], tmp_path, batching=batching, batch_size=size
    )
    assert losses[0] == pytest.approx(expected, rel=1e-4)


def test_packed_rows_hold_whole_examples(examples: list[Example]) -> None:
    packed = sft.train_dataset(examples, SftConfig(batching="packed", max_length=64))
    assert len(packed) < len(examples) / 2
    assert max(map(len, packed["input_ids"])) <= 64
    found = []
    for row in packed:
        begin = 0
        for length in row["seq_lengths"]:
            end = begin + length
            found.append((row["input_ids"][begin:end], row["labels"][begin:end]))
            begin = end
    assert sorted(found) == sorted((e.input_ids, e.labels) for e in examples)
    assert set(trainer.grouping(packed)) == {0}


def test_a_tracker_that_is_not_installed_is_an_error(
    recipe: Recipe, untrained: Parts, examples: list[Example], tmp_path: Path
) -> None:
    installed = get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    missing = {"comet_ml", "clearml", "swanlab"} - set(installed)
    name = sorted(missing)[0]
    with pytest.raises(SftError, match=f"sft.report_to={name}: its package is not installed"):
        train(recipe, untrained, Examples(examples, None), tmp_path, report_to=name)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"early_stopping": 2}, "set eval_share above 0"),
        ({"early_stopping": 2, "eval_share": 0.1, "eval_every": 5}, "needs eval_every=save"),
        ({"eval_share": 1}, "less than 1"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        SftConfig.model_validate(changes)


def test_a_resumed_run_drops_the_lines_that_it_writes_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    state = TrainerState(global_step=2, log_history=[{"step": 1}, {"step": 2}])
    WriteMetrics(path).on_train_begin(TrainingArguments(str(tmp_path)), state, TrainerControl())
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
