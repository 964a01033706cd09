"""The gate's own time in a sampler step on the CPU: by batch, vocabulary and rows that decide.

    python -m benchmarks.gate [--batches 1 16 256] [--vocabularies 32768 131072] [--repeats 10]

Both adapters run inside vLLM's own interfaces on random logits, on one thread, turn by turn with
one read of the same logits. Medians in microseconds. On a CPU the arithmetic is the host's, too;
the first table is the host's part alone, on logits of a few columns. benchmarks/gate_cuda.py is
the same on a GPU.
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from benchmarks.gate_steps import ADAPTERS, CONTROL, Step, copied, logits_of, read
from benchmarks.joint import measured
from training.evaluation.report import markdown_table

BATCHES = (1, 16, 64, 256)
VOCABULARIES = (32_768, 131_072, 262_144)
SHARES = (0.0, 1 / 256, 1 / 16, 0.25, 0.5, 1.0)
FEW_COLUMNS = max(CONTROL.ids) + 1
CPU = torch.device("cpu")
US = 1e6


def timed(step: Step, logits: torch.Tensor, repeats: int) -> tuple[float, float]:
    """Microseconds of the step, and of one read of the logits.

    The step gets fresh logits each time: the exponential of what it leaves behind, -inf, is slow.
    """
    fresh = logits.clone()
    found = []
    for _ in range(repeats + 1):
        logits.copy_(fresh)
        found.append((measured(lambda: read(logits)), measured(lambda: step(logits))))
    logits.copy_(fresh)
    reading, own = np.median(found[1:], axis=0) * US
    return float(own), float(reading)


def host(batches: Sequence[int], repeats: int) -> Iterator[tuple[str, ...]]:
    """By batch: a step in which nothing is decided, where the arithmetic is next to nothing."""
    for batch in batches:
        logits = logits_of(CPU, batch, FEW_COLUMNS)
        found = (timed(make(CPU, batch, 0), logits, repeats)[0] for make in ADAPTERS.values())
        yield (str(batch), *(f"{value:.1f}" for value in found))


def by_size(
    batches: Sequence[int], vocabularies: Sequence[int], share: float, repeats: int
) -> Iterator[tuple[str, ...]]:
    """By batch and vocabulary, at one share of rows that decide."""
    for batch in batches:
        for vocabulary in vocabularies:
            yield (str(batch), str(vocabulary), *_row(batch, vocabulary, share, repeats))


def by_share(batch: int, vocabulary: int, repeats: int) -> Iterator[tuple[str, ...]]:
    """By the share of rows that decide."""
    for share in SHARES:
        yield (f"{share:.1%}", *_row(batch, vocabulary, share, repeats))


def behind_the_first(
    batches: Sequence[int], vocabularies: Sequence[int], repeats: int
) -> Iterator[tuple[str, ...]]:
    """By batch and vocabulary: answers are being written, all of them with `every_token`."""
    for batch in batches:
        for vocabulary in vocabularies:
            cells = _row(batch, vocabulary, 0.0, repeats, every_token=True)
            yield (str(batch), str(vocabulary), *cells)


def slow_path(
    batches: Sequence[int], vocabularies: Sequence[int], repeats: int
) -> Iterator[tuple[str, ...]]:
    """By batch and vocabulary: V2's copy of bfloat16 logits, which the gate makes it do."""
    for batch in batches:
        for vocabulary in vocabularies:
            logits = logits_of(CPU, batch, vocabulary).bfloat16()
            found = timed(copied(logits), logits, repeats)
            yield (str(batch), str(vocabulary), *(f"{value:.1f}" for value in found))


def _row(
    batch: int, vocabulary: int, share: float, repeats: int, *, every_token: bool = False
) -> Iterator[str]:
    logits = logits_of(CPU, batch, vocabulary)
    reading = 0.0
    for make in ADAPTERS.values():
        step = make(CPU, batch, round(share * batch), every_token=every_token)
        own, reading = timed(step, logits, repeats)
        yield f"{own:.1f}"
    yield f"{reading:.1f}"


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add = parser.add_argument
    add("--batches", type=int, nargs="+", default=BATCHES)
    add("--vocabularies", type=int, nargs="+", default=VOCABULARIES)
    add("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    batches, sizes, repeats = arguments.batches, arguments.vocabularies, arguments.repeats
    head = (*ADAPTERS, "one read")
    tables = [
        ("The host's part: nothing decided", ("batch", *ADAPTERS), host(batches, repeats)),
        (
            "Nothing decided",
            ("batch", "vocabulary", *head),
            by_size(batches, sizes, 0.0, repeats),
        ),
        (
            "Every row decided",
            ("batch", "vocabulary", *head),
            by_size(batches, sizes, 1.0, repeats),
        ),
        (
            "Every row with refusal_scope every_token, behind its answer's first token",
            ("batch", "vocabulary", *head),
            behind_the_first(batches, sizes, repeats),
        ),
        (
            f"Batch {max(batches)}, vocabulary {max(sizes)}",
            ("rows that decide", *head),
            by_share(max(batches), max(sizes), repeats),
        ),
        (
            "V2's copy of the logits to float32",
            ("batch", "vocabulary", "copy", "one read"),
            slow_path(batches, sizes, repeats),
        ),
    ]
    for title, columns, rows in tables:
        for line in markdown_table(title, columns, rows):
            print(line, flush=True)


if __name__ == "__main__":
    main()
