import math
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steering import rows

triton = pytest.importorskip("triton", reason="Triton has no build for this platform")
kernels = pytest.importorskip("steering.kernels")

INF = math.inf
NAN = math.nan

logit = st.one_of(st.floats(-100, 100, width=32), st.sampled_from([NAN, -INF, INF]))


class Passes:
    """What is tested, on torch's tensors, with `leave_only` returning what it left."""

    def logsumexp(self, logits: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        return rows.logsumexp(logits, at)

    def leave_only(
        self, logits: torch.Tensor, at: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        rows.leave_only(logits, at, targets)
        return logits


class OnHost(Passes):
    """On NumPy's arrays, which share the tensors' memory."""

    @np.errstate(all="ignore")
    def logsumexp(self, logits: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(rows.logsumexp(logits.numpy(), at.numpy()))

    def leave_only(
        self, logits: torch.Tensor, at: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        rows.leave_only(logits.numpy(), at.numpy(), targets.numpy())
        return logits


class Kernels(Passes):
    """The kernels as Triton's interpreter runs them on the CPU, in a process of their own.

    Triton decides between its interpreter and its compiler when it is imported.
    """

    def __init__(self, process: Executor) -> None:
        self._process = process

    def logsumexp(self, logits: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        return self._process.submit(_logsumexp, logits, at).result()

    def leave_only(
        self, logits: torch.Tensor, at: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        return self._process.submit(_leave_only, logits, at, targets).result()


def _logsumexp(*arguments: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = kernels.logsumexp(*arguments)
    return found


def _leave_only(*arguments: torch.Tensor) -> torch.Tensor:
    kernels.leave_only(*arguments)
    return arguments[0]


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Executor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            yield process


@pytest.fixture(params=["numpy", "torch", "kernels"])
def passes(request: pytest.FixtureRequest, interpreter: Executor) -> Passes:
    ways = {"numpy": OnHost(), "torch": Passes(), "kernels": Kernels(interpreter)}
    return ways[request.param]


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(logit, min_size=1, max_size=9), st.sampled_from([0, 1, 2 * kernels.BLOCK]))
def test_sums_are_torchs_own(passes: Passes, values: list[float], padding: int) -> None:
    # As a view of wider rows, whose other columns do not count.
    wide = torch.full((3, padding + len(values) + 4), NAN)
    logits = wide[:, : padding + len(values)]
    logits[:] = torch.tensor([-INF] * padding + values)
    logits[1] = 1.0
    expected = torch.logsumexp(logits[[2, 1, 0]], dim=1)
    found = passes.logsumexp(logits, torch.tensor([2, 1, 0]))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_sums_of_whole_vocabularies(passes: Passes) -> None:
    logits = 10 * torch.randn(7, 50_001)
    at = torch.tensor([6, 0, 3])
    found = passes.logsumexp(logits, at)
    torch.testing.assert_close(found, torch.logsumexp(logits[at].double(), dim=1).float())


@pytest.mark.parametrize("passes", ["torch", "kernels"], indirect=True)
def test_half_precision_is_summed_in_full(passes: Passes) -> None:
    logits = torch.zeros(1, 5_000, dtype=torch.bfloat16)
    found = passes.logsumexp(logits, torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([math.log(5_000)]))


def test_no_rows(passes: Passes) -> None:
    none, logits = torch.empty(0, dtype=torch.int64), torch.randn(2, 5)
    assert passes.logsumexp(logits, none).shape == (0,)
    assert passes.leave_only(logits, none, none).isfinite().all()


@pytest.mark.parametrize("columns", [3, kernels.BLOCK, kernels.BLOCK + 3])
def test_what_is_left_is_the_target(passes: Passes, columns: int) -> None:
    wide = torch.randn(4, columns + 2)
    before = wide.clone()
    at, targets = torch.tensor([3, 0, 1]), torch.tensor([columns - 1, -1, 2])
    left = passes.leave_only(wide[:, :columns], at, targets)
    for row, target in ((3, columns - 1), (1, 2)):
        assert (left[row] > -INF).nonzero().flatten().tolist() == [target]
        assert left[row, target] == 0
    assert torch.equal(left[[0, 2]], before[[0, 2], :columns])
    assert torch.equal(wide[:, columns:], before[:, columns:])


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_the_kernels_compile_for_gpus(
    capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    target = triton.backends.compiler.GPUTarget("cuda", capability, 32)
    common = {"logits": "*fp32", "stride": "i64", "rows": "*i64", "columns": "i32"}
    for kernel, own in (
        (kernels._logsumexp, {"sums": "*fp32"}),
        (kernels._leave_only, {"targets": "*i64"}),
    ):
        types = common | own | {"held": "constexpr"}
        source = triton.compiler.ASTSource(
            fn=kernel,
            signature={name: types[name] for name in kernel.arg_names},
            constexprs={(kernel.arg_names.index("held"),): kernels.BLOCK},
        )
        assert triton.compile(source, target=target).asm["cubin"]
