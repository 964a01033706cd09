"""What of the time to the first answer is Demur's own.

    python -m benchmarks.cold_start [--checkpoint checkpoints/smollm2] [--repetitions 5]

Starts the server with a clock around each part that stock vLLM does not have
(benchmarks/serving/timed.py), and asks it once. The ratio of whole starts, ours against stock's, is
in `make bench`; it is noisier, for ours is small.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.checkpoint import add_checkpoint
from benchmarks.serving.arms import Arm
from benchmarks.serving.machine import Cores
from benchmarks.serving.servers import started
from benchmarks.serving.timed import FILE
from training.evaluation.report import markdown_table

TIMED = Arm("Demur, its own parts timed", "timed")
TOTAL = "to the first answer"


def start_once(checkpoint: Path, folder: Path, cores: Cores) -> dict[str, float]:
    """Seconds by part, and of the whole."""
    file = folder / "parts.json"
    with started(TIMED, checkpoint, folder / "log", cores, {FILE: str(file)}) as server:
        parts: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
        return parts | {TOTAL: server.first_answer_s}


def rows(found: Sequence[Mapping[str, float]]) -> list[tuple[str, str, str]]:
    """Median seconds of every part and of all ours, each with its share of the whole."""
    whole = np.array([each[TOTAL] for each in found])
    parts = {name: np.array([each[name] for each in found]) for name in found[0] if name != TOTAL}
    parts |= {"all of ours": np.sum(list(parts.values()), axis=0), TOTAL: whole}
    return [
        (name, f"{np.median(values):.3f}", f"{np.median(values / whole):.2%}")
        for name, values in parts.items()
    ]


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add_checkpoint(parser)
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    cores = Cores.of(frozenset(os.sched_getaffinity(0)))
    found = []
    for _ in range(arguments.repetitions):
        with tempfile.TemporaryDirectory() as folder:
            found.append(start_once(arguments.checkpoint, Path(folder), cores))
        print(found[-1], flush=True)
    head = ("part", "seconds", "share")
    print("\n".join(markdown_table("Start of demur-serve", head, rows(found))))


if __name__ == "__main__":
    main()
