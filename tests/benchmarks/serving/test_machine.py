import os
import subprocess
import sys

import pytest

from benchmarks.serving.machine import Cores

TWO = 2
WAITS = "import sys, time; print(flush=True); time.sleep(600)"


@pytest.mark.parametrize(
    ("allowed", "client", "front", "engine"),
    [({0, 1}, {0}, {0}, {1}), ({2, 5, 7}, {2}, {5}, {7}), (set(range(5)), {0}, {1}, {2, 3, 4})],
)
def test_cores_are_shared_out(
    allowed: set[int], client: set[int], front: set[int], engine: set[int]
) -> None:
    cores = Cores.of(frozenset(allowed))
    assert cores == Cores(frozenset(client), frozenset(front), frozenset(engine))
    assert cores.environment()["OMP_NUM_THREADS"] == str(len(engine))


def test_one_core_is_too_few() -> None:
    with pytest.raises(ValueError, match="a core each; this process has 3 alone"):
        Cores.of(frozenset({3}))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < TWO, reason="wants two cores")
@pytest.mark.parametrize(("title", "part"), [("VLLM::EngineCore", "engine"), ("x", "front")])
def test_processes_are_put_on_their_cores(title: str, part: str) -> None:
    cores = Cores.of(frozenset(os.sched_getaffinity(0)))
    with subprocess.Popen(
        [sys.executable, "-c", WAITS, title], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        cores.place(process.pid)
        found = os.sched_getaffinity(process.pid)
        process.kill()
    assert found == getattr(cores, part)
