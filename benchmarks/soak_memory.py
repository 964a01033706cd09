"""Memory and file handles of a server's processes over time (Linux's /proc)."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MIB = 1 << 20
KIB_PER_MIB = 1 << 10
PROC = Path("/proc")
ENDED = (FileNotFoundError, ProcessLookupError)
"""What reading of a process that has ended meanwhile raises."""
MAX_GROWTH_MIB = 128.0
"""What may be gained behind the warm-up: an allocator's noise, which is 100 MiB up and down."""
MAX_HANDLES = 8


@dataclass(frozen=True)
class Sample:
    """All processes of a server at one moment."""

    at_s: float
    processes: int
    resident_mib: float
    handles: int


def members(group: int) -> Iterator[Path]:
    """Folders in /proc of the processes of the process group `group`."""
    for process in PROC.glob("[0-9]*"):
        with suppress(*ENDED):
            if os.getpgid(int(process.name)) == group:
                yield process


def peak_mib(group: int) -> float:
    """Sum of the processes' own peaks of resident memory; what they share counts in each."""
    return sum(_kib(process / "status", "VmHWM:") for process in members(group)) / KIB_PER_MIB


def proportional_mib(group: int) -> float:
    """Memory of all processes; what n processes share counts as an n-th in each."""
    return sum(_kib(process / "smaps_rollup", "Pss:") for process in members(group)) / KIB_PER_MIB


def _kib(file: Path, name: str) -> int:
    """A figure in KiB from a file of /proc; 0 for a process that has ended."""
    with suppress(*ENDED):
        for line in file.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return 0


def sample(group: int, at_s: float) -> Sample:
    """Add up the processes of the process group `group`."""
    resident, handles, processes = 0, 0, 0
    for process in members(group):
        with suppress(*ENDED):
            resident += int((process / "statm").read_text().split()[1])
            handles += len(list((process / "fd").iterdir()))
            processes += 1
    return Sample(at_s, processes, resident * os.sysconf("SC_PAGE_SIZE") / MIB, handles)


@dataclass(frozen=True)
class Growth:
    """What was gained from the warm-up on, by a straight line through the samples."""

    mib: float
    mib_per_hour: float
    handles: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Growth":
        """At least two samples, in their order."""
        at = np.array([one.at_s for one in samples])
        slope = float(np.polyfit(at - at[0], [one.resident_mib for one in samples], 1)[0])
        handles = samples[-1].handles - samples[0].handles
        return cls(slope * (at[-1] - at[0]), slope * 3600, handles)

    def faults(self, max_mib: float) -> list[str]:
        """What there is too much of; max_mib: growth that is allowed."""
        found = []
        if self.mib > max_mib:
            found.append(f"memory grew by {self.mib:.0f} MiB; allowed are {max_mib:g}")
        if self.handles > MAX_HANDLES:
            found.append(f"{self.handles} more file handles are open; allowed are {MAX_HANDLES}")
        return found
