"""Every family from a base to a checkpoint, and what the checkpoint says of itself."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    TrainerCallback,
    TrainerState,
)

from steering.manifest import Manifest
from tests.families import FAMILIES, RESERVED, TEMPLATE, base_config, write_base
from tests.training.fitting import reference_loss
from training.config import AdapterConfig, BaseConfig, Recipe, SftConfig
from training.control_tokens import embedding_matrices
from training.examples import build_examples
from training.family_templates import TEMPLATES
from training.loading import control_tokens, load
from training.run import train
from training.run_folder import FOLDER, METRICS

SFT = SftConfig(epochs=0.5, batch_size=8, learning_rate=5e-3, max_length=96, save_every=4)
LORA = AdapterConfig(method="lora", rank=4, alpha=8)


class Watch(TrainerCallback):
    """Keeps what the model computes at the end of training; stops like Ctrl-C after `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.logits: torch.Tensor | None = None
        self._stop = stop

    def on_step_end(self, *event: Any, **_: Any) -> None:
        state: TrainerState = event[1]
        if state.global_step == self._stop:
            raise KeyboardInterrupt

    def on_train_end(self, *_: Any, **given: Any) -> None:
        self.logits = logits(given["model"])


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=torch.arange(5, 45)[None]).logits
    return found


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["full", "lora"])
def adapter(request: pytest.FixtureRequest) -> AdapterConfig:
    return LORA.model_copy(update={"method": request.param})


def with_base(recipe: Recipe, model: BaseConfig, adapter: AdapterConfig) -> Recipe:
    return recipe.model_copy(update={"model": model, "adapter": adapter, "sft": SFT})


def test_a_trained_family_reloads_as_it_was(
    family: str, tied: bool, adapter: AdapterConfig, recipe: Recipe, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base", family, tied=tied)
    output, watch = tmp_path / "out", Watch()
    reserved = RESERVED.get(family, "")
    config = base_config(base, family, reserved_tokens=reserved)
    train(with_base(recipe, config, adapter), output, callbacks=[watch])
    model, tokenizer = load(output, device=torch.device("cpu"))
    original = AutoModelForCausalLM.from_pretrained(base)
    assert type(model) is type(original)
    assert watch.logits is not None
    tolerance = 0.0 if adapter.method == "full" else 1e-4
    torch.testing.assert_close(logits(model), watch.logits, rtol=tolerance, atol=tolerance)
    manifest = Manifest.load(output)
    control = control_tokens(manifest, tokenizer)
    rows, before = embedding_matrices(model)[0].shape[0], embedding_matrices(original)[0].shape[0]
    assert len(embedding_matrices(model)) == (1 if tied else 2)
    assert rows == before if reserved else rows % 64 == 0 and rows > before
    assert max(control.ids) < rows
    turn_end = tokenizer.convert_tokens_to_ids(TEMPLATES[TEMPLATE[family]].turn_end)
    assert tokenizer.eos_token_id == turn_end
    assert GenerationConfig.from_pretrained(output).eos_token_id == turn_end
    assert model.config.eos_token_id == turn_end
    card = (output / "README.md").read_text()
    assert "| `model.base` | a local folder |" in card
    assert str(base) not in card
    assert f"| `adapter.method` | {adapter.method} |" in card


def test_an_interrupted_adapter_goes_on(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="training")
    config = base_config(write_base(tmp_path / "base", "qwen"), "qwen")
    chosen = with_base(recipe, config, LORA)
    straight, resumed = Watch(), Watch()
    train(chosen, tmp_path / "straight", callbacks=[straight])
    with pytest.raises(KeyboardInterrupt):
        train(chosen, tmp_path / "stopped", callbacks=[Watch(stop=7)])
    train(chosen, tmp_path / "stopped", callbacks=[resumed])
    assert "Going on from step 4." in caplog.messages
    assert straight.logits is not None
    assert resumed.logits is not None
    torch.testing.assert_close(resumed.logits, straight.logits, rtol=1e-4, atol=1e-4)
    # The metrics are those of one run, without the steps that were done twice.
    steps = [entry.get("step") for entry in metrics(tmp_path / "stopped")]
    assert steps == [entry.get("step") for entry in metrics(tmp_path / "straight")]


def metrics(output: Path) -> list[dict[str, Any]]:
    lines = (output / FOLDER / METRICS).read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_weights_stay_in_the_bases_dtype(recipe: Recipe, tmp_path: Path) -> None:
    config = base_config(write_base(tmp_path / "base", "llama"), "llama", dtype="bfloat16")
    train(with_base(recipe, config, LORA), tmp_path / "out")
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert {weight.dtype for weight in saved.parameters()} == {torch.bfloat16}


def test_an_adapter_is_measured_and_goes_back_to_its_best_save(
    recipe: Recipe, tmp_path: Path
) -> None:
    config = base_config(write_base(tmp_path / "base", "llama"), "llama")
    changes = {"epochs": 8.0, "learning_rate": 0.3, "eval_share": 0.2, "early_stopping": 1}
    chosen = with_base(recipe, config, LORA).model_copy(
        update={"sft": SFT.model_copy(update=changes)}
    )
    train(chosen, tmp_path / "out")
    measured = [line["eval_loss"] for line in metrics(tmp_path / "out") if "eval_loss" in line]
    assert measured[-1] > min(measured)
    examples = build_examples(chosen, chosen.data(0), load(tmp_path / "out")[1])
    assert examples.held_out is not None
    held = [example for of_kind in examples.held_out.by_kind.values() for example in of_kind]
    model, _ = load(tmp_path / "out", device=torch.device("cpu"))
    found = reference_loss(model, held)
    assert found == pytest.approx(min(measured), rel=1e-2)
