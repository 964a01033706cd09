"""The V1 adapter inside vLLM's own persistent batch, against the oracle."""

import math
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessors
from vllm.v1.worker.gpu_input_batch import CachedRequestState, InputBatch

from steering.tokens import ControlTokens
from steering.v1 import RefusalGate
from steering.wire import GateConfig, to_extra_args
from tests.steering import oracle

VOCABULARY = 24
CONTROL = ControlTokens(respond=5, refuse=(9, 3, 17))
DEFAULTS = (0.0, 0.0, 0.0)
MAX_REQUESTS = 16
INF = math.inf


def gate(control: ControlTokens = CONTROL, rows: int = MAX_REQUESTS) -> RefusalGate:
    config: Any = SimpleNamespace(
        additional_config=GateConfig(control, DEFAULTS).to_additional_config(),
        scheduler_config=SimpleNamespace(max_num_seqs=rows),
    )
    return RefusalGate(config, torch.device("cpu"), is_pin_memory=False)


def batch_of(processor: RefusalGate) -> InputBatch:
    return InputBatch(
        max_num_reqs=MAX_REQUESTS,
        max_model_len=64,
        max_num_batched_tokens=64,
        device=torch.device("cpu"),
        vocab_size=VOCABULARY,
        block_sizes=[16],
        max_num_blocks_per_req=[4],
        logitsprocs=LogitsProcessors([processor]),
        logitsprocs_need_output_token_ids=True,
    )


def request(name: str, thresholds: tuple[float, ...] | None) -> CachedRequestState:
    extra = None if thresholds is None else dict(to_extra_args(thresholds))
    return CachedRequestState(
        req_id=name,
        prompt_token_ids=[1, 2],
        mm_features=[],
        sampling_params=SamplingParams(temperature=0, extra_args=extra),
        generator=None,
        block_ids=([0],),
        num_computed_tokens=2,
        output_token_ids=[],
    )


def expected_token(row: list[float], thresholds: tuple[float, ...] | None) -> int:
    """What the gate must force at a first position."""
    scores = oracle.scores(row, CONTROL.refuse)
    category = oracle.decision(scores, thresholds or DEFAULTS)
    assert CONTROL.respond is not None
    return CONTROL.respond if category is None else CONTROL.refuse[category]


def step(batch: InputBatch, processor: RefusalGate, logits: torch.Tensor) -> torch.Tensor:
    batch.refresh_metadata()  # type: ignore[no-untyped-call]
    return processor.apply(logits[: batch.num_reqs].clone())


class TestOneStep:
    def test_forces_the_first_token_and_masks_control_tokens_later(self) -> None:
        processor = gate()
        batch = batch_of(processor)
        state = request("a", (-INF, INF, INF))
        batch.add_request(state)
        logits = torch.zeros(1, VOCABULARY)
        first = step(batch, processor, logits)
        assert (first > -INF).nonzero().tolist() == [[0, CONTROL.refuse[0]]]
        state.output_token_ids.append(CONTROL.refuse[0])
        later = step(batch, processor, logits)
        assert (later[0] == -INF).nonzero().flatten().tolist() == sorted(CONTROL.ids)

    def test_rows_of_unfinished_prefill_stay_undecided(self) -> None:
        processor = gate()
        batch = batch_of(processor)
        batch.add_request(request("a", (INF, INF, INF)))
        for _ in range(3):  # chunks of the prompt: results thrown away by vLLM
            forced = step(batch, processor, torch.zeros(1, VOCABULARY))
            assert forced.argmax().item() == CONTROL.respond

    def test_without_settings_the_default_policy_decides(self) -> None:
        processor = gate()
        batch = batch_of(processor)
        batch.add_request(request("a", None))
        logits = torch.zeros(1, VOCABULARY)
        logits[0, CONTROL.refuse[2]] = 9
        assert step(batch, processor, logits).argmax().item() == CONTROL.refuse[2]

    @pytest.mark.parametrize("extra", ["everything", [INF], [INF] * 4, ["a", "b", "c"]])
    def test_settings_that_cannot_be_used_get_the_default_policy(self, extra: object) -> None:
        processor = gate()
        batch = batch_of(processor)
        state = request("a", None)
        assert state.sampling_params is not None
        state.sampling_params.extra_args = {"demur_thresholds": extra}
        batch.add_request(state)
        logits = torch.zeros(1, VOCABULARY)
        logits[0, CONTROL.refuse[1]] = 9
        assert step(batch, processor, logits).argmax().item() == CONTROL.refuse[1]

    def test_without_a_respond_token_an_answer_is_only_masked(self) -> None:
        control = ControlTokens(respond=None, refuse=CONTROL.refuse)
        processor = gate(control)
        batch = batch_of(processor)
        batch.add_request(request("a", (INF, INF, INF)))
        after = step(batch, processor, torch.zeros(1, VOCABULARY))
        assert (after[0] == -INF).nonzero().flatten().tolist() == sorted(control.refuse)

    def test_steps_that_decide_nothing_keep_no_work(self) -> None:
        processor = gate()
        batch = batch_of(processor)
        state = request("a", None)
        batch.add_request(state)
        step(batch, processor, torch.zeros(1, VOCABULARY))
        state.output_token_ids.append(CONTROL.refuse[0])
        step(batch, processor, torch.zeros(1, VOCABULARY))
        assert processor._rows is None
        assert processor._thresholds is None

    def test_is_not_argmax_invariant(self) -> None:
        assert not gate().is_argmax_invariant()

    def test_parameters_are_validated_in_the_front_end(self) -> None:
        RefusalGate.validate_params(SamplingParams(extra_args=dict(to_extra_args((0.0, INF)))))
        with pytest.raises(ValueError, match="list of numbers"):
            RefusalGate.validate_params(SamplingParams(extra_args={"demur_thresholds": "x"}))


@pytest.mark.parametrize("seed", range(25))
def test_follows_a_random_schedule(seed: int) -> None:
    """Adds, removals, moves, swaps, preemption and resumption, all at random, in one batch."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    processor = gate()
    batch = batch_of(processor)
    wanted: dict[str, tuple[float, ...] | None] = {}
    states: dict[str, CachedRequestState] = {}
    preempted: list[str] = []
    decisions = 0
    for tick in range(60):
        for name in [name for name in batch.req_id_to_index if rng.random() < 0.2]:
            batch.remove_request(name)
            if rng.random() < 0.5:
                preempted.append(name)
        while len(batch.req_id_to_index) < MAX_REQUESTS and rng.random() < 0.6:
            if preempted and rng.random() < 0.5:
                batch.add_request(states[preempted.pop()])
                continue
            name = f"{tick}-{len(wanted)}"
            wanted[name] = random_thresholds(rng)
            states[name] = request(name, wanted[name])
            batch.add_request(states[name])
        batch.condense()
        rows = list(range(batch.num_reqs))
        for _ in range(rng.randrange(3)):
            if len(rows) > 1:
                batch.swap_states(*rng.sample(rows, 2))
        logits = torch.randn(MAX_REQUESTS, VOCABULARY) * 4
        after = step(batch, processor, logits)
        for row in rows:
            name = batch.req_ids[row]
            outputs = states[name].output_token_ids
            if outputs:
                masked = (after[row] == -INF).nonzero().flatten().tolist()
                assert masked == sorted(CONTROL.ids), (tick, name)
            else:
                decisions += 1
                alone = (after[row] > -INF).nonzero().flatten().tolist()
                assert alone == [expected_token(logits[row].tolist(), wanted[name])], (tick, name)
            if rng.random() < 0.7:  # otherwise a chunk of a prompt: nothing is sampled
                outputs.append(int(after[row].argmax()))
    assert decisions > 50


def random_thresholds(rng: random.Random) -> tuple[float, ...] | None:
    if rng.random() < 0.2:
        return None
    return tuple(rng.choice([INF, -INF, rng.gauss(-3, 3)]) for _ in CONTROL.refuse)
