"""The gate in vLLM's V1 sampler, as vLLM's `--logits-processors` loads it.

V1 runs custom processors after grammar, allowed ids, bad words, minimum length and logit bias, and
before penalties and temperature. One row of the logits is one request of the persistent batch.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from steering.gate import decide, force, log_odds
from steering.wire import GateConfig, thresholds_of

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class RefusalGate(LogitsProcessor):
    """Forces the decided control token at the first position, and masks them all later.

    A row is pending while its request has no output. Only pending rows are looked at, so a step in
    which every request is past its first token costs one masked fill of the control columns. V1
    calls `apply` on rows whose prefill is not complete, too, and throws the result away: they stay
    pending. A request that was preempted comes back with its outputs, so it is not decided twice.
    """

    def __init__(
        self,
        vllm_config: "VllmConfig",
        device: torch.device,
        is_pin_memory: bool,  # noqa: ARG002
    ) -> None:
        config = GateConfig.from_additional_config(vllm_config.additional_config)
        control = config.control
        self._device = device
        self._refuse_ids = torch.tensor(control.refuse, dtype=torch.int64, device=device)  # [C]
        self._control_ids = torch.tensor(control.ids, dtype=torch.int64, device=device)
        respond = -1 if control.respond is None else control.respond
        self._choice_ids = torch.tensor(  # [C + 1]
            [*control.refuse, respond], dtype=torch.int64, device=device
        )
        self._defaults = np.asarray(config.defaults, dtype=np.float32)  # [C], host
        self._thresholds_np = np.tile(  # [rows, C], host
            self._defaults, (vllm_config.scheduler_config.max_num_seqs, 1)
        )
        self._outputs: dict[int, list[int]] = {}  # pending row -> its request's output tokens
        self._rows: torch.Tensor | None = None  # [n] int64, device; None when nothing is pending
        self._thresholds: torch.Tensor | None = None  # [n, C] float32, device

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Called in the front end. Raises ValueError for thresholds that the gate cannot use."""
        thresholds_of(sampling_params.extra_args)

    def is_argmax_invariant(self) -> bool:
        """False: a forced token changes greedy sampling too."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the batch: removals, then additions, then moves, as vLLM asks for."""
        if batch_update is None:
            if not self._outputs:
                return
        else:
            for row in batch_update.removed:
                self._outputs.pop(row, None)
            for row, params, _, outputs in batch_update.added:
                self._add(row, params, outputs)
            for source, target, direction in batch_update.moved:
                self._move(source, target, swap=direction == MoveDirectionality.SWAP)
        decided = [row for row, outputs in self._outputs.items() if outputs]
        for row in decided:
            del self._outputs[row]
        if decided or batch_update is not None:
            self._stage()

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """logits: [rows, V] float32, changed in place."""
        if self._rows is None or self._thresholds is None:
            return logits.index_fill_(1, self._control_ids, -torch.inf)
        scores = log_odds(logits.index_select(0, self._rows), self._refuse_ids)
        decisions = decide(scores, self._thresholds)
        logits.index_fill_(1, self._control_ids, -torch.inf)
        pending = logits.index_select(0, self._rows)
        return logits.index_copy_(0, self._rows, force(pending, decisions, self._choice_ids))

    def _add(self, row: int, params: SamplingParams, outputs: list[int]) -> None:
        self._outputs.pop(row, None)
        if outputs:
            return
        self._thresholds_np[row] = self._row_thresholds(params)
        self._outputs[row] = outputs

    def _row_thresholds(self, params: SamplingParams) -> Any:
        """[C] thresholds of a request; the default policy's unless it carries usable ones.

        Nothing is raised: an exception here would end the engine for every client.
        """
        try:
            thresholds = thresholds_of(params.extra_args)
        except ValueError:
            return self._defaults
        if thresholds is None or len(thresholds) != len(self._defaults):
            return self._defaults
        return thresholds

    def _move(self, source: int, target: int, *, swap: bool) -> None:
        moving: Any = self._outputs.pop(source, None)
        displaced: Any = self._outputs.pop(target, None)
        if moving is not None:
            self._outputs[target] = moving
        if swap:
            self._thresholds_np[[source, target]] = self._thresholds_np[[target, source]]
            if displaced is not None:
                self._outputs[source] = displaced
        else:
            self._thresholds_np[target] = self._thresholds_np[source]

    def _stage(self) -> None:
        """Copy what the next `apply` needs to the device, without waiting for it."""
        if not self._outputs:
            self._rows = self._thresholds = None
            return
        rows = np.fromiter(self._outputs, dtype=np.int64)
        self._rows = self._to_device(rows)
        self._thresholds = self._to_device(self._thresholds_np[rows])

    def _to_device(self, array: "np.ndarray[Any, Any]") -> torch.Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)
