"""Sampler steps of both of the gate's adapters, to be timed, in vLLM's own interfaces."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate
from vllm.v1.worker.gpu import buffer_utils
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcRequestState
from vllm.v1.worker.gpu.states import RequestState

from steering import v1, v2
from steering.tokens import ControlTokens
from steering.wire import GateConfig, RowSettings

CATEGORIES = 6
CONTROL = ControlTokens(respond=5, refuse=tuple(range(6, 6 + CATEGORIES)))
PROMPT = 16
"""Tokens of each request's prompt."""

Step = Callable[[torch.Tensor], object]
"""What one step does with the logits ([rows, V] float32), in place."""


def config() -> Any:
    """As much of vLLM's configuration as the gate reads."""
    additional = GateConfig(CONTROL, (0.0,) * CATEGORIES).to_additional_config()
    return SimpleNamespace(additional_config=additional, num_speculative_tokens=0)


def params(*, every_token: bool) -> SamplingParams:
    """Of a request whose thresholds are the model's own habit."""
    settings = RowSettings((0.0,) * CATEGORIES, every_token)
    return SamplingParams(extra_args=settings.to_extra_args())


def on_v1(device: torch.device, batch: int, deciding: int, *, every_token: bool = False) -> Step:
    """A step of V1's sampler in which the first `deciding` of `batch` rows begin their answers.

    every_token: whether the others are decided, too.
    """
    gate = v1.RefusalGate(config(), device, is_pin_memory=False)
    own = params(every_token=every_token)
    added = [(row, own, [1] * PROMPT, [] if row < deciding else [5]) for row in range(batch)]
    gate.update_state(BatchUpdate(batch, removed=[], added=added, moved=[]))

    def step(logits: torch.Tensor) -> object:
        gate.update_state(None)
        return gate.apply(logits)

    return step


def on_v2(device: torch.device, batch: int, deciding: int, *, every_token: bool = False) -> Step:
    """A step of V2's sampler, as `on_v1`."""
    if device.type == "cpu":
        # vLLM's own fallback for devices whose memory the host cannot address.
        buffer_utils.is_uva_available = lambda: False  # type: ignore[assignment, attr-defined]
    states = RequestState(
        max_num_reqs=batch,
        max_model_len=4 * PROMPT,
        max_num_batched_tokens=batch * PROMPT,
        num_speculative_steps=0,
        vocab_size=1024,
        device=device,
    )
    gate = v2.RefusalGate(config(), LogitsProcRequestState.from_request_state(states))
    own = params(every_token=every_token)
    for slot in range(batch):
        states.prompt_len.np[slot] = PROMPT
        gate.add_request(slot, own)
    states.prompt_len.copy_to_uva()
    gate.apply_staged_writes()
    lengths = np.full(batch, PROMPT + 1, dtype=np.int32)
    lengths[:deciding] = PROMPT
    slots = torch.arange(batch, dtype=torch.int32, device=device)
    context = LogitsContext(
        expanded_idx_mapping=slots,
        idx_mapping=slots,
        idx_mapping_np=np.arange(batch, dtype=np.int32),
        expanded_local_pos=torch.zeros_like(slots),
        input_ids=torch.ones_like(slots),
        pos=torch.from_numpy(lengths - 1).long().to(device),
        seq_lens_upper_bound_np=lengths,
    )
    return lambda logits: gate.apply(logits, context)


ADAPTERS = {"V1": on_v1, "V2": on_v2}


def logits_of(device: torch.device, batch: int, vocabulary: int) -> torch.Tensor:
    """[batch, V] float32, normal."""
    chance = torch.Generator(device).manual_seed(0)
    return torch.randn(batch, vocabulary, generator=chance, device=device)


def read(logits: torch.Tensor) -> torch.Tensor:
    """One read of the logits: what a decision cannot do without. Returns [rows]."""
    return logits.amax(dim=1)


def copied(logits: torch.Tensor) -> Step:
    """What V2's sampler does first where any request of a step is processed: a copy in float32.

    logits: [rows, V], of any type. The step is given them; as on a GPU, whose allocator keeps what
    is freed, the copy's memory is there already.
    """
    copy = torch.zeros_like(logits, dtype=torch.float32)
    return copy.copy_
