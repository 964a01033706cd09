import pytest
import torch
from vllm.v1.sample.logits_processor import BatchUpdate

from benchmarks.engine import TOKENS, Turn
from benchmarks.gate_steps import CONTROL, config, params
from benchmarks.timed_gate import Spent, TimedGate


def test_one_step_more_and_the_gates_own_time_make_the_ratio() -> None:
    turn = Turn(10.0, 4, masking=Spent(0.5, 5), deciding=Spent(1.5, 3))
    assert turn.answer == 2.5
    assert turn.by_parts == pytest.approx((TOKENS + 1) / TOKENS * 10 / 8)
    assert (turn.masking.mean, turn.deciding.mean, Spent().mean) == (0.1, 0.5, 0.0)


def test_steps_are_told_apart_by_whether_they_decide() -> None:
    gate = TimedGate(config(), torch.device("cpu"), is_pin_memory=False)
    gate.forget()
    outputs: list[int] = []
    added = [(0, params(every_token=False), [1], outputs)]
    gate.update_state(BatchUpdate(1, removed=[], added=added, moved=[]))
    assert gate.apply(torch.zeros(1, 16)).isfinite().sum() == 1
    for _ in range(2):
        outputs.append(CONTROL.respond or 0)
        gate.update_state(None)
        assert gate.apply(torch.zeros(1, 16)).isfinite().sum() == 16 - len(CONTROL.ids)
    assert (gate.deciding.calls, gate.masking.calls) == (1, 2)
    assert gate.deciding.seconds > 0 < gate.masking.seconds
