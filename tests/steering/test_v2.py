"""The V2 adapter on vLLM's own Model Runner V2 state, against the oracle.

vLLM flushes staged writes by a Triton kernel, which needs a GPU; `flush` does the same on the host.
The random schedules hold what a GPU engine does to a processor: recycled slots, rows in any order,
prompts in chunks, preemption, and several rows per request under speculative decoding.
"""

import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.worker.gpu.buffer_utils import StagedWriteTensor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcRequestState
from vllm.v1.worker.gpu.states import RequestState

from steering.v2 import RefusalGate
from steering.wire import GateConfig, RowSettings
from tests.steering import oracle
from tests.steering.schedules import CONTROL, DEFAULT, INF, VOCABULARY, add_bias, random_settings

SLOTS = 12
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def without_unified_addressing(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's own fallback for devices whose memory the host cannot address, such as the CPU."""
    monkeypatch.setattr("vllm.v1.worker.gpu.buffer_utils.is_uva_available", lambda: False)


def flush(tensor: StagedWriteTensor) -> None:
    """What vLLM's kernel does: copy each staged write to its row, from its start on."""
    begin = 0
    for row, start, end in zip(
        tensor._staged_write_indices,
        tensor._staged_write_starts,
        tensor._staged_write_cu_lens,
        strict=True,
    ):
        content = torch.tensor(tensor._staged_write_contents[begin:end], dtype=tensor.dtype)
        target = tensor.gpu[row]
        if target.ndim:
            target[start : start + len(content)] = content
        else:
            tensor.gpu[row] = content[0]
        begin = end
    tensor.clear_staged_writes()


@dataclass
class Request:
    """A request as the engine sees it."""

    name: str
    prompt: list[int]
    settings: RowSettings | None
    outputs: list[int] = field(default_factory=list)
    computed: int = 0
    """Tokens whose keys and values are in the cache."""

    @property
    def tokens(self) -> list[int]:
        return self.prompt + self.outputs

    @property
    def params(self) -> SamplingParams:
        extra = None if self.settings is None else self.settings.to_extra_args()
        return SamplingParams(extra_args=extra)


class Engine:
    """vLLM's request state and the gate, driven one step at a time."""

    def __init__(self, drafts: int = 0) -> None:
        self.states = RequestState(
            max_num_reqs=SLOTS,
            max_model_len=256,
            max_num_batched_tokens=256,
            num_speculative_steps=drafts,
            vocab_size=VOCABULARY,
            device=CPU,
        )
        config: Any = SimpleNamespace(
            additional_config=GateConfig(CONTROL, DEFAULT.thresholds).to_additional_config(),
            num_speculative_tokens=drafts,
        )
        self.gate = RefusalGate(config, LogitsProcRequestState.from_request_state(self.states))
        self.requests: dict[str, Request] = {}

    def add(self, request: Request) -> None:
        request.computed = 0
        self.requests[request.name] = request
        self.states.add_request(request.name, len(request.prompt), request.tokens, 0, 100)
        assert self.gate.add_request(self.slot(request), request.params)

    def remove(self, name: str) -> Request:
        self.states.remove_request(name)
        return self.requests.pop(name)

    def slot(self, request: Request) -> int:
        return self.states.req_id_to_index[request.name]

    def flush(self) -> None:
        self.states.prompt_len.copy_to_uva()
        self.states.prefill_len.copy_to_uva()
        flush(self.states.total_len)
        flush(self.states.all_token_ids)
        self.gate.apply_staged_writes()

    def append(self, request: Request, tokens: list[int]) -> None:
        """Commit sampled tokens, as the engine does after the sampler."""
        slot = self.slot(request)
        for token in tokens:
            self.states.all_token_ids.gpu[slot, len(request.tokens)] = token
            request.outputs.append(token)
        self.states.total_len.gpu[slot] = len(request.tokens)

    def step(
        self,
        batch: list[tuple[Request, int, list[int]]],
        logits: torch.Tensor,
        overestimate: int = 0,
    ) -> torch.Tensor:
        """Run the gate on (request, its length after this step's scheduled tokens, its drafts)."""
        slots = np.array([self.slot(request) for request, _, _ in batch], dtype=np.int32)
        rows = [
            (
                slot,
                local,
                length - 1 + local,
                ([*request.tokens[:length], *drafts])[length - 1 + local],
            )
            for slot, (request, length, drafts) in zip(slots.tolist(), batch, strict=True)
            for local in range(len(drafts) + 1)
        ]
        column = [torch.tensor(values, dtype=torch.int32) for values in zip(*rows, strict=True)]
        lengths = [
            length + len(drafts) + (overestimate if length > len(request.prompt) else 0)
            for request, length, drafts in batch
        ]
        context = LogitsContext(
            expanded_idx_mapping=column[0],
            idx_mapping=torch.from_numpy(slots),
            idx_mapping_np=slots,
            expanded_local_pos=column[1],
            input_ids=column[3],
            pos=column[2].long(),
            seq_lens_upper_bound_np=np.array(lengths, dtype=np.int32),
        )
        self.flush()
        return self.gate.apply(logits[: len(rows)].clone(), context)


def free(row: torch.Tensor) -> set[int]:
    return set((row > -INF).nonzero().flatten().tolist())


def plain(rows: int = 1) -> torch.Tensor:
    return torch.zeros(rows, VOCABULARY)


ALL_BUT_CONTROL = set(range(VOCABULARY)) - set(CONTROL.ids)


class TestOneRequest:
    def started(self, settings: RowSettings | None) -> tuple[Engine, Request]:
        engine = Engine()
        request = Request("a", [1, 2, 4], settings)
        engine.add(request)
        return engine, request

    def test_the_first_token_is_forced_and_control_tokens_are_masked_later(self) -> None:
        engine, request = self.started(RowSettings((INF, -INF, INF)))
        assert free(engine.step([(request, 3, [])], plain())[0]) == {CONTROL.refuse[1]}
        engine.append(request, [CONTROL.refuse[1]])
        assert free(engine.step([(request, 4, [])], plain())[0]) == ALL_BUT_CONTROL

    def test_a_chunk_of_the_prompt_is_not_a_deciding_position(self) -> None:
        engine, request = self.started(RowSettings((INF, -INF, INF)))
        assert free(engine.step([(request, 2, [])], plain())[0]) == ALL_BUT_CONTROL

    def test_warm_up_requests_without_settings_get_the_default_policy(self) -> None:
        engine, request = self.started(None)
        logits = plain()
        logits[0, CONTROL.refuse[2]] = 9
        assert free(engine.step([(request, 3, [])], logits)[0]) == {CONTROL.refuse[2]}

    def test_a_recycled_slot_keeps_nothing(self) -> None:
        engine, request = self.started(RowSettings((-INF, INF, INF), every_token=True))
        engine.step([(request, 3, [])], plain())
        engine.append(request, [CONTROL.refuse[0]])
        engine.step([(request, 4, [])], plain())
        engine.remove("a")
        other = Request("b", [6], RowSettings((INF, INF, -20.0), every_token=True))
        engine.add(other)
        assert engine.slot(other) == SLOTS - 1, "the same slot"
        assert free(engine.step([(other, 1, [])], plain())[0]) == {CONTROL.refuse[2]}

    def test_a_refusal_survives_preemption(self) -> None:
        engine, request = self.started(RowSettings((-INF, INF, INF), every_token=True))
        engine.step([(request, 3, [])], plain())
        engine.append(request, [CONTROL.refuse[0], 11])
        engine.add(engine.remove("a"))
        assert free(engine.step([(request, 5, [])], plain())[0]) == ALL_BUT_CONTROL

    def test_an_answer_is_still_gated_after_preemption(self) -> None:
        engine, request = self.started(RowSettings((0.0, INF, INF), every_token=True))
        engine.step([(request, 3, [])], plain())
        engine.append(request, [CONTROL.respond or 0, 11])
        engine.add(engine.remove("a"))
        logits = plain()
        logits[0, CONTROL.refuse[0]] = 9
        assert free(engine.step([(request, 5, [])], logits)[0]) == {CONTROL.refuse[0]}


class TestSpeculativeDecoding:
    def test_no_row_behind_a_drafted_refusal_is_gated(self) -> None:
        engine = Engine(drafts=2)
        request = Request("a", [1, 2], RowSettings((-3.0, INF, INF), every_token=True))
        engine.add(request)
        engine.append(request, [CONTROL.respond or 0])
        logits = plain(3)
        logits[:, CONTROL.refuse[0]] = 9
        after = engine.step([(request, 3, [CONTROL.refuse[0], 7])], logits)
        assert free(after[0]) == {CONTROL.refuse[0]}
        assert free(after[1]) == free(after[2]) == ALL_BUT_CONTROL

    def test_a_refusal_among_several_accepted_tokens_is_noticed(self) -> None:
        engine = Engine(drafts=2)
        request = Request("a", [1, 2], RowSettings((-3.0, INF, INF), every_token=True))
        engine.add(request)
        engine.append(request, [CONTROL.respond or 0])
        engine.append(request, [CONTROL.refuse[0], 7])
        assert free(engine.step([(request, 5, [])], plain())[0]) == ALL_BUT_CONTROL


def test_a_step_without_deciding_positions_only_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    request = Request("a", [1, 2], RowSettings((-INF, INF, INF)))
    engine.add(request)
    engine.step([(request, 2, [])], plain())
    engine.append(request, [CONTROL.refuse[0]])
    monkeypatch.setattr("steering.v2.apply_gate", None)
    monkeypatch.setattr("steering.v2.async_tensor_h2d", None)
    assert free(engine.step([(request, 3, [])], plain())[0]) == ALL_BUT_CONTROL


def test_parameters_are_validated_in_the_front_end() -> None:
    RefusalGate.validate_params(SamplingParams(extra_args=DEFAULT.to_extra_args()))
    with pytest.raises(ValueError, match="not written by demur-serve"):
        RefusalGate.validate_params(SamplingParams(extra_args={"demur": "x"}))


@pytest.mark.parametrize("drafts", [0, 3])
@pytest.mark.parametrize("seed", range(20))
def test_follows_a_random_schedule(seed: int, drafts: int) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    engine = Engine(drafts)
    preempted: list[Request] = []
    forced = count = 0
    for _ in range(60):
        for name in [name for name in engine.requests if rng.random() < 0.15]:
            request = engine.remove(name)
            if rng.random() < 0.5:
                preempted.append(request)
        while len(engine.requests) < SLOTS and rng.random() < 0.6:
            if preempted and rng.random() < 0.5:
                engine.add(preempted.pop())
                continue
            count += 1
            prompt = [rng.choice([1, 2, 4, 6]) for _ in range(rng.randint(1, 6))]
            engine.add(Request(str(count), prompt, random_settings(rng)))
        running = list(engine.requests.values())
        batch = [scheduled(rng, request, drafts) for request in running if rng.random() < 0.9]
        rng.shuffle(batch)
        if not batch:
            continue
        total = sum(len(proposed) + 1 for _, _, proposed in batch)
        logits = torch.randn(total, VOCABULARY) * 4
        biased = logits.clone()
        row = 0
        for request, _, proposed in batch:
            for local in range(len(proposed) + 1):
                add_bias(biased[row + local], request.settings)
            row += len(proposed) + 1
        after = engine.step(batch, biased, overestimate=rng.randint(0, drafts))
        row = 0
        for request, length, proposed in batch:
            request.computed = length
            accepted: list[int] = []
            for local in range(len(proposed) + 1):
                if length < len(request.tokens):
                    break  # a chunk of the prefill: nothing is sampled
                written = request.outputs + proposed[:local]
                expected = oracle.allowed(
                    logits[row + local].tolist(), written, request.settings or DEFAULT, CONTROL
                )
                assert free(after[row + local]) == expected, (request, local)
                forced += len(expected) == 1
                if accepted == proposed[:local]:
                    sampled = int(after[row + local].argmax())
                    accepted.append(
                        proposed[local] if accept(rng, proposed, local, expected) else sampled
                    )
            row += len(proposed) + 1
            engine.append(request, accepted)
    assert forced > 20


def accept(rng: random.Random, proposed: list[int], local: int, allowed: set[int]) -> bool:
    """Whether the sampler keeps a draft: only one that the gate allows."""
    return local < len(proposed) and proposed[local] in allowed and rng.random() < 0.7


def scheduled(rng: random.Random, request: Request, drafts: int) -> tuple[Request, int, list[int]]:
    """How far a step takes the request: a chunk of its prefill, or one position with drafts."""
    left = len(request.tokens) - request.computed
    if left > 1 and rng.random() < 0.4:
        return request, request.computed + rng.randint(1, left - 1), []
    proposed = [rng.randrange(VOCABULARY) for _ in range(rng.randint(0, drafts))]
    return request, len(request.tokens), proposed if request.outputs else []
