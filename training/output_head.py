"""How a model makes logits of its last hidden state, beyond the product with its embeddings.

With h the last hidden state and w a token's row of the output embeddings, the token's logit is

    z = g(w . h),    g(u) = scale u    or    g(u) = cap tanh(scale u / cap).

A scale is Cohere's or Granite's, a cap Gemma 2's. Other models' logits are w . h itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from training.base_source import BaseError

Floats = npt.NDArray[np.float64]
ROUNDING = 2e-2
"""Share of the largest logit by which float rounding may part the formula from the model."""


@dataclass(frozen=True)
class OutputHead:
    """The function g of the module's text."""

    scale: float = 1.0
    cap: float | None = None

    def logits(self, products: Floats) -> Floats:
        """g of the products w . h, of any shape."""
        scaled: Floats = self.scale * products
        return scaled if self.cap is None else self.cap * np.tanh(scaled / self.cap)

    def slope(self, logits: Floats) -> Floats | float:
        """The derivative of g, where it gives `logits`."""
        return self.scale if self.cap is None else self.scale * (1 - (logits / self.cap) ** 2)

    def inverse(self, logits: Floats) -> Floats:
        """The products that g makes `logits` of; those at the cap or above stay just below it."""
        if self.cap is not None:
            inside = np.clip(logits / self.cap, -1 + 1e-6, 1 - 1e-6)
            logits = self.cap * np.arctanh(inside)
        return logits / self.scale


def head_of(model: PreTrainedModel) -> OutputHead:
    """What the model's configuration says. Raises BaseError if its output has a bias."""
    output: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    kind = model.config.model_type
    if output is None or getattr(output, "bias", None) is not None:
        why = "no output embeddings" if output is None else "a bias in its output embeddings"
        raise BaseError(
            f"rows cannot be fitted for a model of type {kind!r}, which has {why}: set"
            " model.start_rows=mean and adapter.method=full"
        )
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1 / (
        getattr(config, "logits_scaling", None) or 1
    )
    return OutputHead(float(scale), getattr(config, "final_logit_softcapping", None))


def check_head(
    head: OutputHead, model: PreTrainedModel, hidden: torch.Tensor, logits: torch.Tensor
) -> None:
    """Raise BaseError if the model does not make `logits` of `hidden` as `head` says.

    hidden: [n, D], what its output embeddings were given; logits: [n, V], what the model returned.
    """
    rows = model.get_output_embeddings().weight.detach()[:64]  # type: ignore[no-untyped-call]
    products = (hidden.float() @ rows.float().to(hidden.device).T).cpu().double().numpy()
    theirs = logits[:, : len(rows)].float().cpu().double().numpy()
    apart = np.abs(head.logits(products) - theirs).max()
    if not apart <= ROUNDING * max(1.0, np.abs(theirs).max()):
        raise BaseError(
            f"rows cannot be fitted for a model of type {model.config.model_type!r}, whose logits"
            " are not known functions of its output embeddings: set model.start_rows=mean, and"
            " adapter.method=full or lora"
        )
