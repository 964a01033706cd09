"""Writing a checkpoint that meets the contract."""

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.config import Splits
from training.records import write_records
from training.rendering import end_of_turn

CALIBRATION_PROMPTS = Path("prompts", "calibration.jsonl")
TEST_PROMPTS = Path("prompts", "test.jsonl")
"""Where a checkpoint keeps its recipe's held-out prompts."""


def write_checkpoint(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: Splits,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a checkpoint that meets the contract, with the held-out prompts.

    weights: the model's, where the model itself holds only a part of them.
    """
    generation = model.generation_config
    assert generation is not None
    generation.eos_token_id = end_of_turn(tokenizer)
    generation.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder, state_dict=None if weights is None else dict(weights))
    tokenizer.save_pretrained(folder)
    write_companions(folder, splits)


def write_companions(folder: Path, splits: Splits) -> None:
    """Write what goes with the model: held-out prompts, templates and, last, the manifest."""
    for path, records in [(CALIBRATION_PROMPTS, splits.calibration), (TEST_PROMPTS, splits.test)]:
        if records:
            (folder / path).parent.mkdir(exist_ok=True)
            write_records(folder / path, records)
    if splits.templates is not None:
        splits.templates.save(folder)
    splits.manifest.save(folder)


def in_dtype(weights: Mapping[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Weights in the checkpoint's dtype, which sharded training may not have kept."""
    return {
        name: weight.to(dtype) if weight.is_floating_point() else weight
        for name, weight in weights.items()
    }
