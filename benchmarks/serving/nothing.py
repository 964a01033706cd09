"""Arm d's logits processor for vLLM's V1 sampler: what having one costs, whatever it does."""

from typing import TYPE_CHECKING

import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class Nothing(LogitsProcessor):
    """Leaves the logits as they are."""

    def __init__(
        self, vllm_config: "VllmConfig", device: torch.device, is_pin_memory: bool
    ) -> None:
        pass

    def is_argmax_invariant(self) -> bool:
        """False, as the gate's: vLLM leaves out processors that are, where it samples greedily."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Nothing is kept."""

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """logits: [rows, V]."""
        return logits
