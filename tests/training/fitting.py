"""Short runs of the trainer alone, and what they should come to."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    TrainerCallback,
)

from steering.tokens import ControlTokens
from training.config import Recipe, ScratchConfig, SftConfig
from training.encoding import Example
from training.examples import Examples
from training.losses import Objective
from training.scratch import build_model
from training.sft import fit

Parts = tuple[LlamaForCausalLM, PreTrainedTokenizerFast, ControlTokens]


def fresh(recipe: Recipe, untrained: Parts) -> LlamaForCausalLM:
    assert isinstance(recipe.model, ScratchConfig)
    return build_model(untrained[1], recipe.model, seed=0)


def reference_loss(model: PreTrainedModel, examples: list[Example]) -> float:
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


def train(
    recipe: Recipe,
    untrained: Parts,
    examples: Examples,
    folder: Path,
    *callbacks: TrainerCallback,
    objective: Objective | None = None,
    **changes: Any,
) -> LlamaForCausalLM:
    """Fit a fresh model; returns it. The metrics come to lie beside the saves in `folder`."""
    model = fresh(recipe, untrained)
    config = SftConfig.model_validate(recipe.sft.model_dump() | {"log_every": 1} | changes)
    fit(
        model,
        untrained[1],
        examples,
        config,
        objective=objective,
        seed=0,
        saves=folder / "saves",
        metrics=folder / "metrics.jsonl",
        callbacks=callbacks,
    )
    return model


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
