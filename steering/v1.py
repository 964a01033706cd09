"""The gate in vLLM's V1 sampler, as vLLM's `--logits-processors` loads it.

V1 runs custom processors after grammar, allowed ids, bad words, minimum length and logit bias, and
before penalties and temperature. One row of the logits is one request of the persistent batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
import torch
from vllm.sampling_params import SamplingParams
from vllm.utils.torch_utils import async_tensor_h2d
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from steering.arrays import Array, on_host
from steering.gate import Bias, ControlIds, apply_gate, mask_control
from steering.wire import GateConfig, RowSettings

if TYPE_CHECKING:
    from vllm.config import VllmConfig


@dataclass(frozen=True)
class _Row:
    """A request whose next token may have to be decided."""

    settings: RowSettings
    outputs: list[int]
    """vLLM's own list of the request's output tokens, which grows as it runs."""
    first: bool = True
    """Whether the next token is the answer's first."""

    def is_past_first(self) -> bool:
        """Whether the first token has been written since this was last asked."""
        return self.first and bool(self.outputs)


@dataclass(frozen=True)
class _Staged(Generic[Array]):
    """The kept rows, where the logits are."""

    rows: Array
    """[n] int64, indices in the batch."""
    thresholds: Array
    """[n, C] float32."""
    first: Array | None
    """[n] bool, or None where all are True."""
    bias: Bias[Array] | None


class RefusalGate(LogitsProcessor):
    """Forces the decided control token, and masks control tokens wherever nothing is decided.

    A row is kept while its request may have something to decide: until it has an output, or, with
    the scope of every token, until it has refused. The others cost one masked fill per step. V1
    calls `apply` on rows whose prefill is not complete, too, and throws the result away: their
    outputs do not grow, so they are decided again. A request that was preempted comes back with
    its outputs, so its first position is not decided twice.
    """

    def __init__(
        self,
        vllm_config: "VllmConfig",
        device: torch.device,
        is_pin_memory: bool,  # noqa: ARG002
    ) -> None:
        self._config = GateConfig.from_additional_config(vllm_config.additional_config)
        control = self._config.control
        self._refuse = frozenset(control.refuse)
        self._ids = ControlIds.on(device, control)
        # A decision on the CPU is NumPy's, in the memory of the logits.
        self._on_host = on_host(device)
        self._deciding_ids: ControlIds[Any] = (
            ControlIds.on_host(control) if self._on_host else self._ids
        )
        self._to_device = partial(async_tensor_h2d, device=device)
        self._rows: dict[int, _Row] = {}  # by index in the batch
        self._staged: _Staged[Any] | None = None

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Called in the front end. Raises ValueError for settings that the gate cannot use."""
        RowSettings.from_extra_args(sampling_params.extra_args)

    def is_argmax_invariant(self) -> bool:
        """False: a forced token changes greedy sampling too."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the batch: removals, then additions, then moves, as vLLM asks for."""
        if batch_update is not None:
            self._staged = None
            for index in batch_update.removed:
                self._rows.pop(index, None)
            for index, params, _, outputs in batch_update.added:
                self._add(index, _Row(self._config.row_settings(params.extra_args), outputs))
            for source, target, direction in batch_update.moved:
                self._move(source, target, swap=direction == MoveDirectionality.SWAP)
        for index in [index for index, row in self._rows.items() if row.is_past_first()]:
            self._staged = None
            if self._rows[index].settings.every_token:
                self._rows[index] = replace(self._rows[index], first=False)
            else:
                del self._rows[index]

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """logits: [rows, V] float32, changed in place."""
        if self._rows:
            self._drop_refused()
        if not self._rows:
            mask_control(logits, self._ids)
            return logits
        if self._staged is None:
            self._staged = self._stage()
        staged = self._staged
        bias = None if staged.bias is None else (staged.bias, staged.rows)
        array: Any = logits.numpy() if self._on_host else logits
        apply_gate(array, staged.rows, staged.thresholds, staged.first, self._deciding_ids, bias)
        return logits

    def _drop_refused(self) -> None:
        # Only in `apply` are the values of the last outputs known: vLLM 0.32 schedules a step
        # before the last one's tokens have arrived, and holds their places by -1 until then.
        for index in [
            index for index, row in self._rows.items() if self._refused(row.outputs[-1:])
        ]:
            self._staged = None
            del self._rows[index]

    def _add(self, index: int, row: _Row) -> None:
        self._rows[index] = row
        if self._refused(row.outputs):
            del self._rows[index]

    def _refused(self, outputs: list[int]) -> bool:
        return not self._refuse.isdisjoint(outputs)

    def _move(self, source: int, target: int, *, swap: bool) -> None:
        moving = self._rows.pop(source, None)
        displaced = self._rows.pop(target, None)
        if moving is not None:
            self._rows[target] = moving
        if swap and displaced is not None:
            self._rows[source] = displaced

    def _stage(self) -> _Staged[Any]:
        """What `apply` needs, on its way to the device; the copies are not waited for."""
        rows = self._rows.values()
        biases = [
            (index, *entry) for index, row in self._rows.items() for entry in row.settings.bias
        ]
        bias = None
        if biases:
            owners, tokens, values = zip(*biases, strict=True)
            bias = Bias(
                self._placed(owners, np.int64),
                self._placed(tokens, np.int64),
                self._placed(values, np.float32),
            )
        first = [row.first for row in rows]
        return _Staged(
            self._placed(list(self._rows), np.int64),
            self._placed([row.settings.thresholds for row in rows], np.float32),
            None if all(first) else self._placed(first, np.bool_),
            bias,
        )

    def _placed(self, values: Sequence[Any], dtype: type[np.generic]) -> Any:
        array = np.array(values, dtype=dtype)
        return array if self._on_host else self._to_device(array)
