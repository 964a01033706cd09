from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset  # type: ignore[import-untyped]
from transformers import (
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    TrainerCallback,
    TrainerState,
)

from steering.manifest import Manifest
from steering.tokens import ControlTokens
from training import trainer
from training.callbacks import COMPLETE
from training.config import Recipe
from training.encoding import IGNORED, Encoder, Example
from training.examples import Examples
from training.records import Record
from training.scratch import build_model
from training.sft import fit, last_save
from training.trainer import grouping

Parts = tuple[LlamaForCausalLM, PreTrainedTokenizerFast, ControlTokens]


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


@pytest.fixture
def examples(untrained: Parts, manifest: Manifest, records: list[Record]) -> list[Example]:
    _, tokenizer, control = untrained
    return Encoder.for_manifest(tokenizer, control, manifest, max_length=64).encode_all(records)


def fresh(recipe: Recipe, untrained: Parts) -> LlamaForCausalLM:
    return build_model(untrained[1], recipe.model, seed=0)


def reference_loss(model: LlamaForCausalLM, examples: list[Example]) -> float:
    """Mean negative log-likelihood of all labels, one example at a time."""
    total, count = 0.0, 0
    with torch.no_grad():
        for example in examples:
            logits = model(input_ids=torch.tensor([example.input_ids])).logits[0, :-1]
            labels = torch.tensor(example.labels[1:])
            total += torch.nn.functional.cross_entropy(
                logits, labels, ignore_index=-100, reduction="sum"
            ).item()
            count += int((labels != -100).sum())
    return total / count


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
    model = fresh(recipe, untrained)
    batch = examples[:5]
    # No label is its own token here, and one example has a label in its prompt.
    odd = [
        Example(e.input_ids, [-100] * 3 + [i + 7] * (len(e.labels) - 3))
        for i, e in enumerate(batch)
    ]
    expected = reference_loss(model, odd)
    losses = Losses()
    config = recipe.sft.model_copy(update={"epochs": 1.0, "batch_size": 5, "log_every": 1})
    fit(
        model,
        untrained[1],
        Examples(odd, None),
        config,
        seed=0,
        saves=tmp_path,
        metrics=tmp_path / "metrics.jsonl",
        callbacks=[losses],
    )
    assert losses.by_step[1] == pytest.approx(expected, rel=1e-3)


def test_training_lowers_the_loss(
    recipe: Recipe, untrained: Parts, examples: list[Example], tmp_path: Path
) -> None:
    model = fresh(recipe, untrained)
    before = reference_loss(model, examples[:20])
    config = recipe.sft.model_copy(update={"epochs": 4.0})
    fit(
        model,
        untrained[1],
        Examples(examples, None),
        config,
        seed=0,
        saves=tmp_path,
        metrics=tmp_path / "metrics.jsonl",
    )
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


def test_decisions_and_answers_are_batched_apart() -> None:
    ignored = [IGNORED, IGNORED]
    data = Dataset.from_dict(
        {
            "input_ids": [[1, 2, 9], [1, 2, 9, 4], [1] * 7 + [9]],
            "labels": [[*ignored, 9], [*ignored, 9, 4], [IGNORED] * 7 + [9]],
        }
    )
    order = sorted(range(3), key=grouping(data).__getitem__)
    assert order == [0, 2, 1]
