"""Low-rank adapters through PEFT: what is trained of a model, and how it is merged again.

The control tokens' rows are trained whole beside the low-rank updates: a new token's embedding has
nothing to be an update of. PEFT (0.21) trains the rows of the input embeddings, and those of tied
output embeddings with them; output embeddings of their own must be named as well.
"""

import importlib.util
from collections.abc import Mapping
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.save_and_load import get_peft_model_state_dict, set_peft_model_state_dict
from transformers import BitsAndBytesConfig, PreTrainedModel

from steering.tokens import ControlTokens
from training.config import AdapterConfig
from training.errors import TrainingError

ALL_LINEAR = "all-linear"


class AdapterError(TrainingError):
    """An adapter cannot be trained with this model or on this machine."""


def attach(
    model: PreTrainedModel, control: ControlTokens, config: AdapterConfig, seed: int
) -> PeftModel:
    """Freeze `model` and put a trainable adapter on it, whose first weights `seed` draws.

    The result computes what `model` does until it is trained. Raises AdapterError.
    """
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=config.rank,
        lora_alpha=cast(int, config.alpha),
        lora_dropout=config.dropout,
        target_modules=targets(model, config),
        layers_to_transform=upper_layers(model, config.upper_share),
        trainable_token_indices=token_rows(model, control) if config.token_rows else None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            adapted = get_peft_model(model, lora)
        except ValueError as error:
            raise AdapterError(f"adapter.targets {config.targets!r}: {error}") from error
    # TRL (1.16) reads the output embeddings' bias, which PEFT's (0.21) wrapper does not hand on.
    adapted.get_output_embeddings().bias = None
    return cast(PeftModel, adapted)


def targets(model: PreTrainedModel, config: AdapterConfig) -> str | list[str]:
    """What PEFT is to update: names of linear layers, or its word for all of them.

    PEFT (0.21) takes that word for all layers of the model alone.
    """
    if config.targets != ALL_LINEAR:
        return config.targets.split(",")
    if config.upper_share == 1:
        return ALL_LINEAR
    head: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    linear = (
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )
    return sorted({name.rpartition(".")[2] for name in linear})


def upper_layers(model: PreTrainedModel, share: float) -> list[int] | None:
    """Numbers of the layers that are updated, the last ones; None for all."""
    if share == 1:
        return None
    layers = int(model.config.get_text_config().num_hidden_layers)
    return list(range(layers - max(round(share * layers), 1), layers))


def token_rows(model: PreTrainedModel, control: ControlTokens) -> dict[str, list[int]]:
    """The embedding matrices whose rows are trained, by module name, with the rows.

    Raises AdapterError if the output embeddings have a bias, which PEFT (0.21) would leave out.
    """
    inputs: torch.nn.Module = model.get_input_embeddings()
    outputs: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if getattr(outputs, "bias", None) is not None:
        raise AdapterError("adapter.method: the model's output embeddings have a bias; use full")
    names = {id(module): name for name, module in model.named_modules()}
    ends = [inputs] if outputs.weight is inputs.weight else [inputs, outputs]
    return {names[id(end)]: list(control.ids) for end in ends}


def adapter_state(model: PeftModel, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The adapter's part of a state dict of `model`."""
    return cast(
        dict[str, torch.Tensor],
        get_peft_model_state_dict(model, state_dict=dict(state), save_embedding_layers=False),
    )


def merge(
    base: PreTrainedModel,
    control: ControlTokens,
    config: AdapterConfig,
    adapter: dict[str, torch.Tensor],
) -> PreTrainedModel:
    """`base` with the trained adapter's weights merged into its own.

    base: the model that the adapter was trained on, in full precision even where it was trained in
    4 bits: what the adapter learnt is added to weights that were never rounded.
    Raises AdapterError if the adapter holds weights that are no numbers.
    """
    model = attach(base, control, config, seed=0)
    unexpected = cast(Any, set_peft_model_state_dict(model, adapter)).unexpected_keys
    assert not unexpected, unexpected
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise AdapterError(f"the adapter cannot be merged: {error}") from error
    return cast(PreTrainedModel, merged)


def quantization() -> BitsAndBytesConfig:
    """How QLoRA (arXiv 2305.14314, sec. 3) holds the base: 4-bit NormalFloat, quantized twice.

    Raises AdapterError if this machine cannot.
    """
    if not torch.cuda.is_available():
        raise AdapterError("adapter.method 'qlora' needs a CUDA GPU, and there is none; use 'lora'")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise AdapterError(
            "adapter.method 'qlora' needs the package bitsandbytes: pip install bitsandbytes"
        )
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
