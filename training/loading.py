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

from steering.manifest import Manifest
from steering.tokens import ControlTokens, Tokenizer, resolve


def quiet() -> None:
    """Switch off transformers' own progress bars, which would run into those of the commands."""
    disable_progress_bar()  # type: ignore[no-untyped-call]


def load(folder: Path, dtype: str = "float32") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The causal language model and the tokenizer in `folder`, on the accelerator if there is one.

    Raises OSError if files are missing; nothing is looked for on the network.
    """
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, local_files_only=True
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return cast(PreTrainedModel, model.to(device)), tokenizer


def control_tokens(manifest: Manifest, tokenizer: PreTrainedTokenizerBase) -> ControlTokens:
    """`steering.tokens.resolve` for a tokenizer of transformers, whose types promise less."""
    return resolve(manifest, cast(Tokenizer, tokenizer))
