"""The V1 adapter inside vLLM's own persistent batch, against the oracle."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessors
from vllm.v1.worker.gpu_input_batch import CachedRequestState, InputBatch

from steering import v1
from steering.tokens import ControlTokens
from steering.v1 import RefusalGate
from steering.wire import GateConfig, RowSettings
from tests.steering import oracle
from tests.steering.schedules import CONTROL, DEFAULT, INF, VOCABULARY, add_bias, random_settings

MAX_REQUESTS = 16


def gate(control: ControlTokens = CONTROL) -> RefusalGate:
    additional = GateConfig(control, DEFAULT.thresholds).to_additional_config()
    config: Any = SimpleNamespace(additional_config=additional)
    return RefusalGate(config, torch.device("cpu"), is_pin_memory=False)


def batch_of(processor: RefusalGate) -> InputBatch:
    return InputBatch(
        max_num_reqs=MAX_REQUESTS,
        max_model_len=128,
        max_num_batched_tokens=128,
        device=torch.device("cpu"),
        vocab_size=VOCABULARY,
        block_sizes=[16],
        max_num_blocks_per_req=[8],
        logitsprocs=LogitsProcessors([processor]),
        logitsprocs_need_output_token_ids=True,
    )


def request(name: str, settings: RowSettings | None) -> CachedRequestState:
    extra = None if settings is None else settings.to_extra_args()
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


def step(batch: InputBatch, processor: RefusalGate, logits: torch.Tensor) -> torch.Tensor:
    batch.refresh_metadata()  # type: ignore[no-untyped-call]
    return processor.apply(logits[: batch.num_reqs].clone())


def free(row: torch.Tensor) -> set[int]:
    """The tokens that the gate leaves to the sampler."""
    return set((row > -INF).nonzero().flatten().tolist())


class TestOneRequest:
    def running(self, settings: RowSettings | None) -> tuple[Any, CachedRequestState]:
        processor = gate()
        batch = batch_of(processor)
        state = request("a", settings)
        batch.add_request(state)

        def tokens(logits: torch.Tensor | None = None) -> set[int]:
            plain = torch.zeros(VOCABULARY) if logits is None else logits
            return free(step(batch, processor, plain.unsqueeze(0))[0])

        tokens.processor = processor  # type: ignore[attr-defined]
        return tokens, state

    def test_the_first_token_is_forced_and_control_tokens_are_masked_later(self) -> None:
        tokens, state = self.running(RowSettings((-INF, INF, INF)))
        assert tokens() == {CONTROL.refuse[0]}
        state.output_token_ids.append(CONTROL.refuse[0])
        assert tokens() == set(range(VOCABULARY)) - set(CONTROL.ids)

    def test_rows_of_unfinished_prefill_stay_undecided(self) -> None:
        tokens, _ = self.running(RowSettings((INF, INF, INF)))
        assert [tokens() for _ in range(3)] == [{CONTROL.respond}] * 3

    def test_without_settings_the_default_policy_decides(self) -> None:
        tokens, _ = self.running(None)
        logits = torch.zeros(VOCABULARY)
        logits[CONTROL.refuse[2]] = 9
        assert tokens(logits) == {CONTROL.refuse[2]}

    def test_every_token_refuses_in_the_middle_and_then_lets_the_refusal_be(self) -> None:
        tokens, state = self.running(RowSettings((0.0, INF, INF), every_token=True))
        logits = torch.zeros(VOCABULARY)
        assert tokens(logits) == {CONTROL.respond}
        state.output_token_ids += [CONTROL.respond or 0, 11]
        assert tokens(logits) == set(range(VOCABULARY)) - set(CONTROL.ids)
        logits[CONTROL.refuse[0]] = 9
        assert tokens(logits) == {CONTROL.refuse[0]}
        state.output_token_ids.append(CONTROL.refuse[0])
        assert tokens(logits) == set(range(VOCABULARY)) - set(CONTROL.ids)

    def test_first_token_leaves_the_middle_alone(self) -> None:
        tokens, state = self.running(RowSettings((0.0, INF, INF)))
        state.output_token_ids.append(CONTROL.respond or 0)
        logits = torch.zeros(VOCABULARY)
        logits[CONTROL.refuse[0]] = 9
        assert tokens(logits) == set(range(VOCABULARY)) - set(CONTROL.ids)

    def test_a_placeholder_whose_value_arrives_late_is_seen_in_time(self) -> None:
        tokens, state = self.running(RowSettings((-INF, INF, INF), every_token=True))
        tokens()
        state.output_token_ids.append(-1)
        tokens.processor.update_state(None)
        state.output_token_ids[-1] = CONTROL.refuse[0]
        after = tokens.processor.apply(torch.zeros(1, VOCABULARY))
        assert free(after[0]) == set(range(VOCABULARY)) - set(CONTROL.ids)

    def test_steps_that_decide_nothing_keep_no_work(self) -> None:
        tokens, state = self.running(None)
        tokens()
        state.output_token_ids.append(CONTROL.respond or 0)
        tokens()
        assert not tokens.processor._rows


def test_without_a_respond_token_an_answer_is_only_masked() -> None:
    control = ControlTokens(respond=None, refuse=CONTROL.refuse)
    processor = gate(control)
    batch = batch_of(processor)
    batch.add_request(request("a", RowSettings((INF, INF, INF))))
    after = step(batch, processor, torch.zeros(1, VOCABULARY))
    assert free(after[0]) == set(range(VOCABULARY)) - set(control.refuse)


def test_is_not_argmax_invariant() -> None:
    assert not gate().is_argmax_invariant()


def test_parameters_are_validated_in_the_front_end() -> None:
    good = RowSettings((0.0, INF, 1.0)).to_extra_args()
    RefusalGate.validate_params(SamplingParams(extra_args=good))
    with pytest.raises(ValueError, match="not written by demur-serve"):
        RefusalGate.validate_params(SamplingParams(extra_args={"demur": "x"}))


@pytest.mark.parametrize("on_host", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_follows_a_random_schedule(
    seed: int, on_host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adds, removals, moves, swaps, preemption and resumption, all at random, in one batch.

    In NumPy's arithmetic, and in that of a device.
    """
    monkeypatch.setattr(v1, "on_host", lambda _: on_host)
    rng = random.Random(seed)
    torch.manual_seed(seed)
    processor = gate()
    batch = batch_of(processor)
    settings: dict[str, RowSettings | None] = {}
    states: dict[str, CachedRequestState] = {}
    preempted: list[str] = []
    forced = 0
    for tick in range(60):
        for name in [name for name in batch.req_id_to_index if rng.random() < 0.15]:
            batch.remove_request(name)
            if rng.random() < 0.5:
                preempted.append(name)
        while len(batch.req_id_to_index) < MAX_REQUESTS and rng.random() < 0.6:
            if preempted and rng.random() < 0.5:
                batch.add_request(states[preempted.pop()])
                continue
            name = f"{tick}-{len(settings)}"
            settings[name] = random_settings(rng)
            states[name] = request(name, settings[name])
            batch.add_request(states[name])
        batch.condense()
        rows = list(range(batch.num_reqs))
        for _ in range(rng.randrange(3)):
            if len(rows) > 1:
                batch.swap_states(*rng.sample(rows, 2))
        logits = torch.randn(MAX_REQUESTS, VOCABULARY) * 4
        biased = logits.clone()
        for row in rows:
            add_bias(biased[row], settings[batch.req_ids[row]])
        after = step(batch, processor, biased)
        for row in rows:
            name = batch.req_ids[row]
            outputs = states[name].output_token_ids
            expected = oracle.allowed(
                logits[row].tolist(), outputs, settings[name] or DEFAULT, CONTROL
            )
            assert free(after[row]) == expected, (tick, name)
            forced += len(expected) == 1
            if rng.random() < 0.7:  # otherwise a chunk of a prompt: nothing is sampled
                outputs.append(int(after[row].argmax()))
    assert forced > 50
