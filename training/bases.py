"""Existing causal language models to start from, and their tokenizers.

A base model's tokenizer often has no chat template, and ends sequences rather than answers. What
is read here has a template, ends an answer with its end-of-sequence token and knows a padding.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.quantization_config import GgufConfig

from training.base_source import BaseError, BaseSource, locate
from training.config import OWN, BaseConfig
from training.family_templates import TEMPLATES
from training.records import Prompt
from training.rendering import EncodingError, end_of_turn, render


def load_base(config: BaseConfig) -> PreTrainedModel:
    """The base model's weights, on the accelerators if there are any. Raises BaseError."""
    source = locate(config.base, config.revision)
    dtype = getattr(torch, config.dtype)
    model, found = _read(
        config,
        lambda: AutoModelForCausalLM.from_pretrained(
            source.name,
            dtype=dtype,
            output_loading_info=True,
            **source.options,
            **_unpacking(source),
            **_placing(),
        ),
    )
    # transformers (5.19) would go on with random ones.
    if missing := sorted(found["missing_keys"]):
        raise BaseError(
            f"model.base {config.base!r} lacks {len(missing)} of its weights: {missing[0]}, ..."
        )
    # Unpacked weights are ordinary ones: a checkpoint must not say that they are quantized.
    if source.is_gguf and hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return cast(PreTrainedModel, model)


def outline(config: BaseConfig) -> PreTrainedModel:
    """The base model without weights, on the meta device: only its sizes. Raises BaseError."""
    source = locate(config.base, config.revision)
    architecture = _read(config, lambda: AutoConfig.from_pretrained(source.name, **source.options))
    with torch.device("meta"):
        model = _read(config, lambda: AutoModelForCausalLM.from_config(architecture))  # type: ignore[no-untyped-call]
    return cast(PreTrainedModel, model)


def load_tokenizer(config: BaseConfig) -> PreTrainedTokenizerBase:
    """The base's tokenizer, with the chat template, the turn's end and a padding token.

    Raises BaseError, also when a conversation does not come out of the template as a prompt, an
    answer and the end of the turn.
    """
    source = locate(config.base, config.revision)
    tokenizer = cast(
        PreTrainedTokenizerBase,
        _read(config, lambda: AutoTokenizer.from_pretrained(source.name, **source.options)),
    )
    turn_end = _set_template(tokenizer, config)
    if turn_end:
        _check_turn_end(tokenizer, turn_end)
        tokenizer.eos_token = turn_end
    try:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer))
    except EncodingError as error:
        raise BaseError(
            f"model.template {config.template!r} and model.turn_end {config.turn_end!r} do not"
            f" fit the tokenizer of {config.base!r}: {error}"
        ) from error
    _check_generation_prompt(tokenizer, config)
    if tokenizer.pad_token is None:
        # Which token pads does not matter: it is masked, and carries no label.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _read(config: BaseConfig, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (OSError, SafetensorError, ValueError, struct.error) as error:
        raise BaseError(f"model.base {config.base!r}: {error}") from error


def _placing() -> dict[str, Any]:
    # The base answers and is read before it is trained: on GPUs, if there are any.
    return {"device_map": "auto"} if torch.accelerator.is_available() else {}


def _unpacking(source: BaseSource) -> dict[str, Any]:
    # transformers (5.19) keeps a GGUF file's blocks quantized unless it is told otherwise.
    return {"quantization_config": GgufConfig(dequantize=True)} if source.is_gguf else {}


def _set_template(tokenizer: PreTrainedTokenizerBase, config: BaseConfig) -> str:
    """Give the tokenizer its template; returns the token that ends a turn, or nothing."""
    if config.template in TEMPLATES:
        named = TEMPLATES[config.template]
        tokenizer.chat_template = named.jinja
        return named.turn_end
    if config.template != OWN:
        try:
            tokenizer.chat_template = Path(config.template).read_text(encoding="utf-8")
        except OSError as error:
            raise BaseError(
                f"model.template {config.template!r} is no file that can be read"
                f" ({error.strerror}); allowed are {OWN}, {', '.join(TEMPLATES)} or a Jinja file"
            ) from error
    elif not tokenizer.chat_template:
        raise BaseError(
            f"the tokenizer of {config.base!r} has no chat template: set model.template to one of"
            f" {', '.join(TEMPLATES)}, or to a Jinja file"
        )
    return config.turn_end


def _check_generation_prompt(tokenizer: PreTrainedTokenizerBase, config: BaseConfig) -> None:
    asked = Prompt.asking("Hello")
    # As the server tells it: what is rendered more, behind the last message.
    closed, opened = (render(tokenizer, asked, answered=answered) for answered in (True, False))
    if not opened.startswith(closed) or opened == closed:
        raise BaseError(
            f"model.template {config.template!r} adds no generation prompt behind the last message,"
            " so the server could not tell where an answer begins: choose one of"
            f" {', '.join(TEMPLATES)}, or a Jinja file that adds one"
        )


def _check_turn_end(tokenizer: PreTrainedTokenizerBase, turn_end: str) -> None:
    ids = tokenizer.encode(turn_end, add_special_tokens=False)
    if len(ids) != 1:
        raise BaseError(
            f"{turn_end!r}, which is to end a turn, is {len(ids)} tokens in the base's vocabulary,"
            " not 1: choose a model.template or model.turn_end that fits the base"
        )
