"""Tiny random models whose logits are functions of w . h, each in another way."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from training.output_head import OutputHead

VOCABULARY = 80
CONTROL = (77, 78, 79)
"""The last rows of the embeddings."""
ARCHITECTURES: dict[str, tuple[Callable[..., PreTrainedConfig], dict[str, Any], OutputHead]] = {
    "llama": (LlamaConfig, {}, OutputHead()),
    "cohere": (CohereConfig, {"logit_scale": 0.25}, OutputHead(scale=0.25)),
    "granite": (GraniteConfig, {"logits_scaling": 4.0}, OutputHead(scale=0.25)),
    "gemma2": (
        Gemma2Config,
        {"final_logit_softcapping": 3.0, "head_dim": 16, "query_pre_attn_scalar": 16},
        OutputHead(cap=3.0),
    ),
}
"""By model type: configuration, its settings, and what makes logits."""


def model_of(kind: str, *, seed: int = 0, tied: bool = False) -> PreTrainedModel:
    """A model of one layer, 32 wide, whose logits are of the order of 1."""
    make, settings, _ = ARCHITECTURES[kind]
    return random_model(make, seed=seed, tie_word_embeddings=tied, **settings)


def model_with_bias() -> PreTrainedModel:
    """One that no row can be fitted for."""
    return random_model(PhiConfig)


def random_model(
    make: Callable[..., PreTrainedConfig], *, seed: int = 0, **settings: Any
) -> PreTrainedModel:
    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": "float32",
    }
    config = make(**sizes | settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.train(False)
    return model
