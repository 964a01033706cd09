"""The gate of V1's sampler with a clock around it, which vLLM loads in its place."""

import time
from dataclasses import dataclass

import torch
from vllm.v1.sample.logits_processor import BatchUpdate

from steering.v1 import RefusalGate


@dataclass
class Spent:
    """Time in one kind of calls."""

    seconds: float = 0.0
    calls: int = 0

    def add(self, seconds: float) -> None:
        """One call more."""
        self.seconds += seconds
        self.calls += 1

    @property
    def mean(self) -> float:
        """Seconds a call."""
        return self.seconds / max(1, self.calls)


class TimedGate(RefusalGate):
    """Times what vLLM calls in each step, by whether the step decides something."""

    _updating = 0.0

    def forget(self) -> None:
        """Begin anew."""
        self.masking, self.deciding = Spent(), Spent()

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """As the gate's."""
        start = time.perf_counter()
        super().update_state(batch_update)
        self._updating = time.perf_counter() - start

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """As the gate's."""
        start = time.perf_counter()
        found = super().apply(logits)
        spent = self.deciding if self._rows else self.masking
        spent.add(self._updating + time.perf_counter() - start)
        return found
