"""Tiny random base models of the families that Demur is for, as folders like those on the hub.

    write_base(folder, "llama")                    weights, config, tokenizer without a template
    write_checkpoint(folder, "llama", manifest)    that with control tokens, template and manifest

The weights are random. The sizes (heads of 64) are such that vLLM serves them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GenerationConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from steering.manifest import Manifest
from training.config import BaseConfig, Recipe, Splits
from training.start import write_start

SPECIAL: dict[str, tuple[str, ...]] = {
    "llama": (
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        *(f"<|reserved_special_token_{number}|>" for number in (0, 1, 3, 4)),
    ),
    "mistral": ("<s>", "</s>", "[INST]", "[/INST]"),
    "qwen": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    "gemma": (
        *("<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>"),
        *(f"<unused{number}>" for number in range(4)),
    ),
}
ENDS: dict[str, dict[str, str]] = {
    "llama": {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},
    "mistral": {"bos_token": "<s>", "eos_token": "</s>"},
    "qwen": {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
    "gemma": {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
}
ARCHITECTURES: dict[str, Callable[..., PreTrainedConfig]] = {
    "llama": LlamaConfig,
    "mistral": MistralConfig,
    "qwen": Qwen3Config,
    "gemma": Gemma3TextConfig,
}
FAMILIES = tuple(ARCHITECTURES)
TEMPLATE = {"llama": "llama3", "mistral": "mistral", "qwen": "chatml", "gemma": "gemma"}
RESERVED = {"llama": "<|reserved_special_token_{}|>", "gemma": "<unused{}>"}
TEXT = "Yes, sure. Here is the answer. No, sorry. I cannot answer: safety, harm and crime. " * 4


def base_config(folder: Path, family: str, **changes: Any) -> BaseConfig:
    """The settings with which the base in `folder` is trained; the penalty is not searched for."""
    settings = {"base": str(folder), "template": TEMPLATE[family], "rows_l2": 0.1}
    return BaseConfig.model_validate(settings | changes)


def write_base(folder: Path, family: str, *, tied: bool = False, seed: int = 0) -> Path:
    """Write a tiny random base model of `family` into `folder`; returns the folder."""
    tokenizer = _tokenizer(family)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _model(family, tokenizer, tied)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_checkpoint(
    folder: Path, family: str, manifest: Manifest, *, tied: bool = False, reserved: bool = False
) -> Path:
    """Write an untrained checkpoint of `family` that meets the contract; returns the folder.

    reserved: the control tokens take the places of the family's reserved tokens.
    """
    base = write_base(folder.with_name(f"{folder.name}.base"), family, tied=tied)
    splits = Splits([], [], [], manifest)
    reserved_tokens = RESERVED[family] if reserved else ""
    recipe = Recipe(
        name=family,
        summary="for tests",
        data=lambda _: splits,
        model=base_config(base, family, reserved_tokens=reserved_tokens, start_rows="mean"),
    )
    write_start(folder, recipe, splits, folder.with_name(f"{folder.name}.states"))
    manifest.save(folder)
    return folder


def _model(family: str, tokenizer: PreTrainedTokenizerFast, tied: bool) -> PreTrainedModel:
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    sizes = {"sliding_window": None} if family == "mistral" else {}
    config = ARCHITECTURES[family](
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
        **special,
        **sizes,
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.generation_config = GenerationConfig(**special)  # type: ignore[no-untyped-call]
    return model


def _tokenizer(family: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=list(SPECIAL[family]),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **ENDS[family]
    )
