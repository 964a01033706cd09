"""The soak of `make soak`, compressed: the same traffic and the same verdict in about a minute."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.soak import PROMPTS, soak
from benchmarks.soak_oracle import Oracle
from tests.e2e.server import Server

SECONDS = 60
CLIENTS = 64
WARMING_MIB = 384
"""Caches fill for some minutes, by 300 MiB (`make soak`); here there is but one."""


def test_mixed_traffic(server: Server, checkpoint: Path, report: Callable[[str], None]) -> None:
    tally, summary = soak(server, Oracle.of(checkpoint, PROMPTS), SECONDS, CLIENTS, WARMING_MIB)
    for line in summary:
        report(line)
    assert tally.faults == []
    assert min(tally.sent.values()) > 0
    assert 0 < tally.refused < tally.decisions
    assert tally.near_and_other <= tally.near < 0.05 * tally.decisions
    assert {status for status in tally.statuses if status >= 500} == set()
