"""The gate's time in a sampler step on a GPU, by CUDA events, against one read of the same bytes.

    python -m benchmarks.gate_cuda [--batches 1 32 256] [--vocabularies 32768 131072]

Both adapters run inside vLLM's own interfaces. Events see what the device does between them, and
the host's launching where the device waits for it; `host` is what the host does until it may go
on; V2's copy is what its sampler does first, to bfloat16 logits, where any request is processed.
Medians in microseconds. Without a GPU it says so, and measures nothing.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from training.evaluation.report import markdown_table

BATCHES = (1, 32, 256)
VOCABULARIES = (32_768, 131_072, 262_144)
SHARES = (0.0, 1 / 16, 1.0)
WARM_UP = 10
REPEATS = 100
NO_GPU = "There is no CUDA device here: the gate's arithmetic on a GPU is not measured."


def elapsed(work: Callable[[], object]) -> tuple[float, float]:
    """Median microseconds between two events around `work`, and on the host until it returns."""
    found = []
    for at in range(WARM_UP + REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        start.record()
        begin = time.perf_counter()
        work()
        host = time.perf_counter() - begin
        end.record()
        end.synchronize()
        if at >= WARM_UP:
            found.append((start.elapsed_time(end) * 1e3, host * 1e6))
    device, on_host = np.median(found, axis=0)
    return float(device), float(on_host)


def rows(batches: Sequence[int], vocabularies: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """By batch, vocabulary and share of rows that decide."""
    from benchmarks.gate_steps import ADAPTERS, copied, logits_of, read

    device = torch.device("cuda")
    for vocabulary in vocabularies:
        for batch in batches:
            logits = logits_of(device, batch, vocabulary)
            reading, _ = elapsed(partial(read, logits))
            narrow = logits.bfloat16()
            copying, _ = elapsed(partial(copied(narrow), narrow))
            for share in SHARES:
                cells = []
                for make in ADAPTERS.values():
                    step = make(device, batch, deciding=round(share * batch))
                    own, host = elapsed(partial(step, logits))
                    cells += [f"{own:.1f}", f"{host:.1f}"]
                cells += [f"{copying:.1f}", f"{reading:.1f}"]
                yield (str(vocabulary), str(batch), f"{share:.0%}", *cells)


def main() -> None:
    """Print the table as Markdown, or why there is none."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--vocabularies", type=int, nargs="+", default=VOCABULARIES)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print(NO_GPU)
        return
    adapters = ("V1", "V1 host", "V2", "V2 host")
    head = ("vocabulary", "batch", "rows that decide", *adapters, "V2's copy", "one read")
    title = torch.cuda.get_device_name()
    for line in markdown_table(title, head, rows(arguments.batches, arguments.vocabularies)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
