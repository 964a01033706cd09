import sys

import pytest
import torch

from benchmarks import gate, gate_cuda
from benchmarks.gate_steps import ADAPTERS, CONTROL, copied, logits_of

CPU = torch.device("cpu")
VOCABULARY = 64


@pytest.fixture(params=ADAPTERS)
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr("vllm.v1.worker.gpu.buffer_utils.is_uva_available", lambda: False)
    return ADAPTERS[request.param]


class TestSteps:
    """What is timed is the gate at work: so many rows decided, the others masked only."""

    @pytest.mark.parametrize("deciding", [0, 1, 3])
    def test_rows_that_begin_are_decided(self, make: object, deciding: int) -> None:
        assert callable(make)
        logits = logits_of(CPU, 4, VOCABULARY)
        make(CPU, 4, deciding)(logits)
        free = (logits > -torch.inf).sum(dim=1).tolist()
        assert free == [1] * deciding + [VOCABULARY - len(CONTROL.ids)] * (4 - deciding)

    def test_every_token_decides_behind_the_first(self, make: object) -> None:
        assert callable(make)
        logits = logits_of(CPU, 2, VOCABULARY)
        logits[1, CONTROL.refuse[0]] = 99
        make(CPU, 2, 0, every_token=True)(logits)
        free = (logits > -torch.inf).sum(dim=1).tolist()
        assert free == [VOCABULARY - len(CONTROL.ids), 1]


def test_tables_have_a_row_for_each_size() -> None:
    rows = list(gate.by_size([1, 2], [32, 64], 1.0, repeats=1))
    assert [row[:2] for row in rows] == [("1", "32"), ("1", "64"), ("2", "32"), ("2", "64")]
    assert all(float(cell) > 0 for row in rows for cell in row)


def test_v2_s_copy_is_of_bfloat16() -> None:
    rows = list(gate.slow_path([2], [32, 64], repeats=1))
    assert [row[:2] for row in rows] == [("2", "32"), ("2", "64")]
    logits = logits_of(CPU, 2, VOCABULARY).bfloat16()
    copy = copied(logits)(logits)
    assert isinstance(copy, torch.Tensor)
    assert copy.dtype == torch.float32
    assert torch.equal(copy, logits.float())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gate_cuda"])
    gate_cuda.main()
    assert capsys.readouterr().out.strip() == gate_cuda.NO_GPU
