import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.soak_memory import members, peak_mib, proportional_mib, sample

HOLD = "import sys; held = b'x' * (64 << 20); print(flush=True); sys.stdin.read()"


@pytest.fixture
def group() -> Iterator[int]:
    """A process in a group of its own that holds 64 MiB."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_memory_of_a_group(group: int) -> None:
    assert [folder.name for folder in members(group)] == [str(group)]
    assert 64 < proportional_mib(group) <= peak_mib(group) < 256
    assert 64 < sample(group, 0.0).resident_mib <= peak_mib(group)


def test_a_group_that_has_ended_holds_nothing(group: int) -> None:
    os.kill(group, 9)
    os.waitid(os.P_PID, group, os.WEXITED | os.WNOWAIT)
    assert peak_mib(group) == proportional_mib(group) == 0
