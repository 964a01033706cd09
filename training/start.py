"""What training starts from: a tokenizer and a model that know the control tokens."""

import logging
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from steering.tokens import ControlTokens
from training.base_answers import answer
from training.bases import load_base, load_tokenizer
from training.config import BaseConfig, Recipe, ScratchConfig, Splits
from training.control_tokens import add_control_tokens
from training.decisions import fitted_rows
from training.examples import hold_out, to_answer
from training.loading import control_tokens
from training.records import Record
from training.rendering import prompt_ids
from training.reserved import reuse_reserved_tokens
from training.scratch import build_model, texts_of, train_tokenizer
from training.states import StateStore

logger = logging.getLogger(__name__)

Parts = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def write_start(folder: Path, recipe: Recipe, splits: Splits, states: Path) -> None:
    """Write the untrained model and its tokenizer into `folder`, whole or not at all.

    A model from scratch learns its tokenizer from the training records. Of a base, control tokens'
    rows are fitted, and its own answers written, as the recipe wants.
    states: the folder of hidden states, which outlives an interruption.
    Raises training.base_source.BaseError if the base model cannot be used.
    """
    half = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    if isinstance(recipe.model, ScratchConfig):
        model, tokenizer = _from_scratch(recipe.model, splits, recipe.seed)
    else:
        model, tokenizer = _from_base(recipe.model, recipe, splits)
        if splits.manifest.scopes:
            _prepare(model, tokenizer, recipe, splits, half, states)
    model.save_pretrained(half)
    tokenizer.save_pretrained(half)
    half.rename(folder)


def _from_scratch(config: ScratchConfig, splits: Splits, seed: int) -> Parts:
    logger.info("Learning a tokenizer from %d records.", len(splits.train))
    tokenizer = train_tokenizer(texts_of(splits.train), config)
    model = build_model(tokenizer, config, seed)
    add_control_tokens(model, tokenizer, splits.manifest)
    return model, tokenizer


def _from_base(config: BaseConfig, recipe: Recipe, splits: Splits) -> Parts:
    logger.info("Reading the base model %s.", config.base)
    tokenizer = load_tokenizer(config)
    model = load_base(config)
    if config.reserved_tokens:
        tokenizer = reuse_reserved_tokens(model, tokenizer, splits.manifest, config.reserved_tokens)
    multiple = 1 if recipe.frozen else config.pad_vocabulary_to
    add_control_tokens(model, tokenizer, splits.manifest, multiple)
    for settings in (model.config, model.generation_config):
        assert settings is not None
        if recipe.frozen and settings.eos_token_id is not None:
            continue
        settings.eos_token_id = tokenizer.eos_token_id
        settings.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _prepare(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    splits: Splits,
    folder: Path,
    states: Path,
) -> None:
    """Write the base's own answers into `folder`, then fit the control tokens' rows."""
    assert isinstance(recipe.model, BaseConfig)
    control = control_tokens(splits.manifest, tokenizer)
    prompts = _to_answer(splits.train, recipe, tokenizer)
    own = None
    if prompts:
        tokens = recipe.methods.base_answer_tokens
        own = answer(model, tokenizer, control.ids, prompts, tokens)
        own.save(folder)
    if recipe.model.start_rows == "mean":
        return
    store = StateStore(states, model, control.ids)
    # What training is measured on must not have been fitted to.
    records = _sample(hold_out(splits.train, recipe.sft.eval_share, recipe.seed)[0], recipe)
    rows = fitted_rows(store, model, tokenizer, control, records, recipe, splits, own)
    set_output_rows(model, control, rows)


def _to_answer(
    records: Sequence[Record], recipe: Recipe, tokenizer: PreTrainedTokenizerBase
) -> list[list[int]]:
    """Prompts that the base is to answer, as token ids, each once; none that leaves no room."""
    room = recipe.sft.max_length - recipe.methods.base_answer_tokens
    found = (prompt_ids(tokenizer, record.prompt) for record in to_answer(records, recipe))
    return [list(ids) for ids in dict.fromkeys(map(tuple, found)) if len(ids) < room]


def _sample(records: Sequence[Record], recipe: Recipe) -> Sequence[Record]:
    """The records that rows are fitted to."""
    assert isinstance(recipe.model, BaseConfig)
    most = recipe.model.rows_prompts
    if most == "all" or most >= len(records):
        return records
    return random.Random(recipe.seed).sample(list(records), most)


@torch.no_grad()
def set_output_rows(model: PreTrainedModel, control: ControlTokens, rows: torch.Tensor) -> None:
    """Overwrite the control tokens' rows of the output embeddings with `rows`, [len(ids), D]."""
    weight: torch.Tensor = model.get_output_embeddings().weight  # type: ignore[no-untyped-call]
    weight[list(control.ids)] = rows.to(weight.device, weight.dtype)
