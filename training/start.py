"""What training starts from: a tokenizer and a model that know the control tokens."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from steering.manifest import Manifest
from training.bases import load_base, load_tokenizer
from training.config import BaseConfig, Recipe, ScratchConfig
from training.control_tokens import add_control_tokens
from training.records import Record
from training.reserved import reuse_reserved_tokens
from training.scratch import build_model, texts_of, train_tokenizer

logger = logging.getLogger(__name__)

Parts = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def write_start(
    folder: Path, recipe: Recipe, records: Sequence[Record], manifest: Manifest
) -> None:
    """Write the untrained model and its tokenizer into `folder`, whole or not at all.

    records: what a model from scratch learns its tokenizer from.
    Raises training.bases.BaseError if the base model cannot be used.
    """
    model, tokenizer = (
        _from_scratch(recipe.model, records, manifest, recipe.seed)
        if isinstance(recipe.model, ScratchConfig)
        else _from_base(recipe.model, manifest)
    )
    half = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(half, ignore_errors=True)
    model.save_pretrained(half)
    tokenizer.save_pretrained(half)
    half.rename(folder)


def _from_scratch(
    config: ScratchConfig, records: Sequence[Record], manifest: Manifest, seed: int
) -> Parts:
    logger.info("Learning a tokenizer from %d records.", len(records))
    tokenizer = train_tokenizer(texts_of(records), config)
    model = build_model(tokenizer, config, seed)
    add_control_tokens(model, tokenizer, manifest)
    return model, tokenizer


def _from_base(config: BaseConfig, manifest: Manifest) -> Parts:
    logger.info("Reading the base model %s.", config.base)
    tokenizer = load_tokenizer(config)
    model = load_base(config)
    if config.reserved_tokens:
        tokenizer = reuse_reserved_tokens(model, tokenizer, manifest, config.reserved_tokens)
    add_control_tokens(model, tokenizer, manifest, config.pad_vocabulary_to)
    for settings in (model.config, model.generation_config):
        assert settings is not None
        settings.eos_token_id = tokenizer.eos_token_id
        settings.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer
