"""A long stretch of mixed traffic: every decision right, and the server as it was before.

    python -m benchmarks.soak [--minutes 30] [--clients 64] [--checkpoint checkpoints/smollm2]

Clients stream or not, go away, send what is no request, and ask for other rates each time. Every
decision is held against scores by transformers; those nearer to a threshold than rounding are
counted apart. Between waves nobody is connected, and memory and file handles are read. Prints a
summary; exits with 1 if a decision is wrong, anything is answered otherwise than it should be (a
5xx above all), or memory or handles grow.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.checkpoint import add_checkpoint
from benchmarks.soak_memory import MAX_GROWTH_MIB, Growth, Sample, sample
from benchmarks.soak_oracle import Oracle
from benchmarks.soak_traffic import Client, Tally
from tests.e2e.server import Server, serving

PROMPTS = 300
WAVES = 12
WARM_UP = 4
"""Of the waves, those before memory is looked at: caches fill, and kernels are chosen."""
SETTLE_S = 1.0
SHOWN = 10
"""Faults that are printed in full."""


def soak(
    server: Server,
    oracle: Oracle,
    seconds: float,
    clients: int,
    max_mib: float = MAX_GROWTH_MIB,
) -> tuple[Tally, list[str]]:
    """Send traffic for so long. Returns what came of it, and a summary in lines.

    max_mib: growth of memory that is allowed behind the warm-up.
    """
    tally = Tally()
    samples = asyncio.run(_waves(server, oracle, tally, seconds, clients))
    growth = Growth.of(samples[WARM_UP:])
    tally.faults += growth.faults(max_mib)
    return tally, _summary(tally, samples, growth, seconds)


async def _waves(
    server: Server, oracle: Oracle, tally: Tally, seconds: float, most: int
) -> list[Sample]:
    """Waves of more and fewer clients; a sample behind each, when all have gone."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    samples = []
    for wave in range(WAVES):
        count = most if wave % 2 == 0 else max(1, most // (2 + wave))
        until = start + seconds * (wave + 1) / WAVES - SETTLE_S
        seeds = (f"{wave}/{number}" for number in range(count))
        await asyncio.gather(
            *(Client(server.url, oracle, tally, seed).run(until) for seed in seeds)
        )
        await asyncio.sleep(SETTLE_S)
        samples.append(sample(server.process.pid, loop.time() - start))
    return samples


def _summary(tally: Tally, samples: Sequence[Sample], growth: Growth, seconds: float) -> list[str]:
    total = tally.sent.total()
    kinds = ", ".join(f"{count} {kind}" for kind, count in tally.sent.most_common())
    statuses = ", ".join(f"{status}: {n}" for status, n in sorted(tally.statuses.items()))
    resident = " ".join(f"{one.resident_mib:.0f}" for one in samples)
    handles = " ".join(str(one.handles) for one in samples)
    return [
        f"{total} requests in {seconds / 60:.1f} minutes ({kinds})",
        f"statuses: {statuses}",
        f"decisions: {tally.decisions}, of them {tally.refused} refusals; {tally.near} within"
        f" rounding of a threshold, {tally.near_and_other} of these decided otherwise",
        f"memory of {samples[-1].processes} processes, MiB: {resident}",
        f"  behind the warm-up {growth.mib:+.1f} MiB ({growth.mib_per_hour:+.1f} an hour)",
        f"file handles: {handles}",
        f"faults: {len(tally.faults)}",
        *(f"  {fault}" for fault in tally.faults[:SHOWN]),
    ]


def main() -> int:
    """Start a server, send it traffic, print the summary. Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=64)
    add_checkpoint(parser)
    arguments = parser.parse_args()
    oracle = Oracle.of(arguments.checkpoint, PROMPTS)
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        with serving(arguments.checkpoint, Path(folder)) as server:
            print(f"the server is ready after {time.monotonic() - start:.0f} s", flush=True)
            tally, summary = soak(server, oracle, arguments.minutes * 60, arguments.clients)
        print("\n".join(summary))
        if tally.faults:
            print("\n".join(server.output().splitlines()[-40:]), file=sys.stderr)
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
