"""The gate of a running engine, taken out of its sampler and put in again."""

from typing import Any

from vllm.v1.worker.gpu_input_batch import InputBatch

from steering.v1 import RefusalGate


class Switch:
    """What `batch` is sampled with."""

    def __init__(self, batch: InputBatch) -> None:
        self._batch = batch
        self._processors = batch.logitsprocs.non_argmax_invariant
        [self.gate] = [found for found in self._processors if isinstance(found, RefusalGate)]

    def set_gated(self, *, gated: bool) -> None:
        """Have the gate in the sampler or not.

        While it is out it does not follow the batch: what runs then, and goes on when it is in
        again, must have nothing left to decide.
        """
        if (self.gate in self._processors) != gated:
            (self._processors.append if gated else self._processors.remove)(self.gate)
        # By this vLLM tells a server with processors of its own from stock.
        self._batch.logitsprocs_need_output_token_ids = gated


class SwitchedWorker:
    """What vLLM's `--worker-extension-cls` adds to its worker."""

    model_runner: Any

    def set_gated(self, gated: bool) -> None:
        """As the switch's."""
        if not hasattr(self, "_switch"):
            self._switch = Switch(self.model_runner.input_batch)
        self._switch.set_gated(gated=gated)
