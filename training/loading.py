"""Models and tokenizers from local folders."""

from pathlib import Path
from typing import cast

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar
from transformers.utils.quantization_config import QuantizationConfigMixin

from steering.manifest import Manifest
from steering.tokens import ControlTokens, Tokenizer, resolve


def quiet() -> None:
    """Switch off transformers' own progress bars, which would run into those of the commands."""
    disable_progress_bar()  # type: ignore[no-untyped-call]


def load(
    folder: Path,
    dtype: str = "float32",
    *,
    device: torch.device | None = None,
    attention: str | None = None,
    quantization: QuantizationConfigMixin | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The causal language model and the tokenizer in `folder`.

    device: by default the accelerator, if there is one.
    attention: transformers' name of an implementation; by default its own choice.
    Raises OSError if files are missing; nothing is looked for on the network.
    """
    if device is None:
        device = torch.accelerator.current_accelerator() or torch.device("cpu")
    model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation=attention,
        quantization_config=quantization,
        # Quantized weights come into being on their device, and cannot be moved.
        device_map=None if quantization is None else {"": device},
        local_files_only=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return cast(PreTrainedModel, model if quantization else model.to(device)), tokenizer


def control_tokens(manifest: Manifest, tokenizer: PreTrainedTokenizerBase) -> ControlTokens:
    """`steering.tokens.resolve` for a tokenizer of transformers, whose types promise less."""
    return resolve(manifest, cast(Tokenizer, tokenizer))
