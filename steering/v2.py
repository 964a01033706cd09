"""The gate in vLLM's Model Runner V2, what GPUs run by default; see vLLM's `--logits-processors`.

V2 runs custom processors after grammar, logit bias, penalties and bad words, and before
temperature. A row of the logits is a position, not a request: requests live in slots that are
recycled, and speculative decoding gives a request one row per draft token. (vLLM 0.32)
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from vllm.sampling_params import SamplingParams
from vllm.utils.torch_utils import async_tensor_h2d
from vllm.v1.worker.gpu.buffer_utils import UvaBackedTensor
from vllm.v1.worker.gpu.sample.logits_processor import (
    LogitsContext,
    LogitsProcessor,
    LogitsProcRequestState,
)

from steering.gate import Bias, ControlIds, apply_gate, mask_control
from steering.wire import GateConfig, RowSettings

if TYPE_CHECKING:
    from vllm.config import VllmConfig

ALWAYS = np.iinfo(np.int64).max
"""More tokens than any request has."""


class RefusalGate(LogitsProcessor):
    """Forces the decided control token, and masks control tokens wherever nothing is decided.

    A position is the first of its answer when all tokens before it are the prompt's. The host
    tells from lengths alone whether a step can hold such a position, or a later one of a request
    with the scope of every token; where it cannot, one masked fill is all that is launched. What a
    row is, exactly, is worked out on the device, and nothing is read back.
    """

    def __init__(self, vllm_config: "VllmConfig", req_states: LogitsProcRequestState) -> None:
        self._config = GateConfig.from_additional_config(vllm_config.additional_config)
        self._states = req_states
        self._device = req_states.device
        self._ids = ControlIds.on(self._device, self._config.control)
        slots, categories = req_states.max_num_reqs, len(self._config.control.refuse)
        # Drafts that a step may add to a request, and by which its length may be overestimated.
        self._drafts = vllm_config.num_speculative_tokens
        self._thresholds = UvaBackedTensor((slots, categories), torch.float32)
        self._every_token = UvaBackedTensor(slots, torch.bool)
        # By slot, host: the length of its tokens up to which a request decides.
        self._decides_until = np.zeros(slots, dtype=np.int64)
        self._refused = torch.zeros(slots, dtype=torch.bool, device=self._device)
        self._biases: dict[int, tuple[tuple[int, float], ...]] = {}  # by slot, host
        self._added: list[int] = []  # slots filled since the last flush

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Called in the front end. Raises ValueError for settings that the gate cannot use."""
        RowSettings.from_extra_args(sampling_params.extra_args)

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """Set the slot's whole state, whoever had it before. Fires again after preemption."""
        settings = self._config.row_settings(sampling_params.extra_args)
        self._thresholds.np[req_idx] = settings.thresholds
        self._every_token.np[req_idx] = settings.every_token
        last = int(self._states.prompt_len.np[req_idx]) + self._drafts
        self._decides_until[req_idx] = ALWAYS if settings.every_token else last
        self._biases.pop(req_idx, None)
        if settings.bias:
            self._biases[req_idx] = settings.bias
        self._added.append(req_idx)
        return True

    def apply_staged_writes(self) -> None:
        """Bring what `add_request` set to the device."""
        if not self._added:
            return
        self._thresholds.copy_to_uva()
        self._every_token.copy_to_uva()
        self._refused[self._to_device(np.array(self._added))] = False
        for slot in self._added:
            if self._every_token.np[slot]:
                self._restore_refused(slot)
        self._added.clear()

    def apply(self, logits: torch.Tensor, ctx: LogitsContext) -> torch.Tensor:
        """logits: [rows, V] float32, changed in place."""
        slots, lengths = ctx.idx_mapping_np, ctx.seq_lens_upper_bound_np
        # One comparison tells most steps: those behind the first token of every answer.
        if not (lengths <= self._decides_until[slots]).any():
            mask_control(logits, self._ids)
            return logits
        prompts = self._states.prompt_len.np[slots]
        first = (lengths >= prompts) & (lengths <= prompts + self._drafts)
        later = self._every_token.np[slots] & (lengths > prompts)
        if not (first.any() or later.any()):
            mask_control(logits, self._ids)
            return logits
        if later.any():
            self._note_refusals(ctx)
        bias = self._bias_of(slots[first | later]) if self._biases else None
        if len(logits) == len(slots):
            rows = self._to_device(np.flatnonzero(first | later))
        else:
            rows = torch.arange(len(logits), device=self._device)
        self._decide(logits, ctx, rows, bias)
        return logits

    def _decide(
        self,
        logits: torch.Tensor,
        ctx: LogitsContext,
        rows: torch.Tensor,
        bias: Bias[torch.Tensor] | None,
    ) -> None:
        """Decide those of `rows` ([n] int64) that are at a deciding position."""
        slots = ctx.expanded_idx_mapping[rows].long()
        seen = ctx.pos[rows] + 1
        prompts = self._states.prompt_len.gpu[slots]
        first = seen == prompts
        refused = self._refused[slots] | self._refused_in_drafts(ctx)[rows]
        later = self._every_token.gpu[slots] & (seen > prompts) & ~refused
        deciding = (first | later).unsqueeze(1)
        thresholds = torch.where(deciding, self._thresholds.gpu[slots], torch.inf)
        undo = None if bias is None else (bias, slots)
        apply_gate(logits, rows, thresholds, first, self._ids, undo)

    def _bias_of(self, slots: "np.ndarray[Any, Any]") -> Bias[torch.Tensor] | None:
        """What vLLM has added to the logits of these requests."""
        biases = [(slot, *entry) for slot in slots.tolist() for entry in self._biases.get(slot, ())]
        if not biases:
            return None
        owners, tokens, values = (np.array(column) for column in zip(*biases, strict=True))
        return Bias(
            self._to_device(owners),
            self._to_device(tokens),
            async_tensor_h2d(values, dtype=torch.float32, device=self._device),
        )

    def _note_refusals(self, ctx: LogitsContext) -> None:
        """Mark requests whose last step wrote a refuse token: the refusal's text is not gated."""
        slots = ctx.idx_mapping.long()
        back = torch.arange(1, self._drafts + 2, device=self._device)
        positions = self._states.total_len.gpu[slots].unsqueeze(1) - back  # [requests, drafts + 1]
        written = positions >= self._states.prompt_len.gpu[slots].unsqueeze(1)
        tokens = self._states.all_token_ids.gpu[slots.unsqueeze(1), positions.clamp(min=0).long()]
        found = (torch.isin(tokens, self._ids.refuse) & written).any(dim=1)
        self._refused[slots] |= found

    def _refused_in_drafts(self, ctx: LogitsContext) -> torch.Tensor:
        """[rows] bool: a draft token before this row, in its request, is a refuse token."""
        drafts = torch.isin(ctx.input_ids, self._ids.refuse) & (ctx.expanded_local_pos > 0)
        counted = drafts.cumsum(dim=0)
        row = torch.arange(len(counted), device=self._device)
        return counted > counted[row - ctx.expanded_local_pos]

    def _restore_refused(self, slot: int) -> None:
        """After preemption the answer so far comes back as part of the tokens to prefill."""
        start, end = (int(n.np[slot]) for n in (self._states.prompt_len, self._states.prefill_len))
        if end > start:
            tokens = self._states.all_token_ids.gpu[slot, start:end]
            self._refused[slot] = torch.isin(tokens, self._ids.refuse).any()

    def _to_device(self, indices: "np.ndarray[Any, Any]") -> torch.Tensor:
        return async_tensor_h2d(indices, dtype=torch.int64, device=self._device)
