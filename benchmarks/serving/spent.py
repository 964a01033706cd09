"""What a server spends on a load: its processes' CPU time, and vLLM's own clocks in /metrics."""

import os
from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.serving.machine import is_engine
from benchmarks.serving.results import Spent
from benchmarks.soak_memory import ENDED, members
from tests.e2e.server import Server

FIRST = "vllm:time_to_first_token_seconds"
HISTOGRAMS: Mapping[str, str] = {
    "first_s": f"{FIRST}_sum",
    "requests": f"{FIRST}_count",
    "queue_s": "vllm:request_queue_time_seconds_sum",
    "prefill_s": "vllm:request_prefill_time_seconds_sum",
}
"""Of vLLM (0.32), by the field of `Spent` that they come to."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
USER, SYSTEM = 11, 12
"""Where the times stand in /proc/PID/stat, behind the name in brackets."""


class Meter:
    """Runs from its making to its reading."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # Reading /metrics costs the server some milliseconds: outside of what is counted.
        self._clocks = _clocks(server)
        self._cpu = _cpu(server)

    def read(self) -> Spent:
        """What was spent meanwhile; CPU time in steps of 10 ms."""
        cpu, clocks = _cpu(self._server), _clocks(self._server)
        found = {name: clocks[name] - self._clocks[name] for name in HISTOGRAMS}
        found |= {name: cpu[name] - self._cpu[name] for name in cpu}
        return Spent.model_validate(found)


def _cpu(server: Server) -> dict[str, float]:
    found = {"front_s": 0.0, "engine_s": 0.0}
    for process in members(server.process.pid):
        try:
            ticks = (process / "stat").read_text().rpartition(")")[2].split()
            part = "engine_s" if is_engine(process) else "front_s"
        except ENDED:
            continue
        found[part] += (int(ticks[USER]) + int(ticks[SYSTEM])) / TICKS_PER_S
    return found


def _clocks(server: Server) -> dict[str, float]:
    sums = sums_of(httpx.get(f"{server.url}/metrics").raise_for_status().text)
    return {field: sums[name] for field, name in HISTOGRAMS.items()}


def sums_of(text: str) -> dict[str, float]:
    """Samples of Prometheus' text format by name, those of several labels added up."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found
