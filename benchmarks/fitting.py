"""What fitting rows on a frozen base costs: the search for the optimum, and the pass before it.

    python -m benchmarks.fitting [--prompts 10000] [--categories 10] [--width 4096]
        [--model DIR --passes 4]

The fit is of synthetic states, which are on disk as in a run: time and growth of the process's
memory, with cross-validation and with a given penalty. With --model, a folder that transformers
loads, a pass of the store over its own prompts is timed against a plain forward pass over the same
batches, interleaved: each round runs both, in an order that alternates. Two plain passes after one
another are the noise floor.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from training.demo.prompts import splits
from training.loading import load
from training.output_head import OutputHead, head_of
from training.rendering import prompt_ids
from training.row_fit import NONE, Decisions, fit_rows
from training.scoring import left_padded
from training.states import Reading, StateStore, batches_of
from training.threads import wait_without_spinning

PROMPTS = 128
"""Of the pass that is timed."""


def main(argv: Sequence[str] | None = None) -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--categories", type=int, default=10)
    parser.add_argument("--width", type=int, default=4096, help="of the hidden states")
    parser.add_argument("--model", type=Path, metavar="DIR")
    parser.add_argument("--passes", type=int, default=4, metavar="N")
    arguments = parser.parse_args(argv)
    wait_without_spinning()
    with tempfile.TemporaryDirectory() as folder:
        for line in fit(Path(folder), arguments.prompts, arguments.categories, arguments.width):
            print(line, flush=True)
        if arguments.model is not None:
            print(ratios(Path(folder), arguments.model, arguments.passes), flush=True)


def fit(folder: Path, prompts: int, categories: int, width: int) -> Iterable[str]:
    """Time and memory of the fit, a line for each way to choose the penalty."""
    decisions = synthetic(folder / "states.npy", prompts, categories, width)
    yield f"{prompts:,} prompts x {categories} categories x {width:,} dimensions"
    for name, l2 in (("penalty 0.003", 0.003), ("cross-validated", None)):
        before, start = _peak_mib(), time.monotonic()
        _, chosen = fit_rows(decisions, categories, OutputHead(), l2)
        seconds = time.monotonic() - start
        grown = _peak_mib() - before
        yield f"  {name:16} {seconds:7.1f} s, {grown:6.0f} MiB more at the peak; penalty {chosen:g}"


def synthetic(path: Path, prompts: int, categories: int, width: int) -> Decisions:
    """Decisions of which half refuse; each label's states have a mean of their own."""
    rng = np.random.default_rng(0)
    hidden = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
        path, "w+", np.float32, (prompts, width)
    )
    labels = np.where(rng.random(prompts) < 0.5, NONE, rng.integers(0, categories, prompts))
    means = rng.normal(0, 0.1, (categories + 1, width))
    for start in range(0, prompts, 1000):
        rows = labels[start : start + 1000]
        hidden[start : start + 1000] = 1 + means[rows] + rng.normal(size=(len(rows), width))
    offset = rng.normal(20, 2, prompts).astype(np.float32)
    return Decisions(hidden, offset, labels, np.ones(prompts), np.arange(prompts))


def ratios(folder: Path, checkpoint: Path, passes: int) -> str:
    """Prompts a second by the store against a plain forward pass, and plain against plain."""
    model, tokenizer = load(checkpoint)
    records = splits(0).train[:PROMPTS]
    readings = [Reading.at_end(prompt_ids(tokenizer, record.prompt)) for record in records]
    last = model.config.get_text_config().vocab_size - 1
    head = head_of(model)

    def stored(number: int) -> None:
        StateStore(folder / f"pass-{number}", model, [last]).read(readings, head)

    times: list[list[float]] = [[], [], []]
    for number in range(passes):
        plain = partial(forward, model, readings)
        variants = list(zip(times, (partial(stored, number), plain, plain), strict=True))
        for own, run in variants if number % 2 == 0 else reversed(variants):
            own.append(_seconds(run))
    rates = [PROMPTS / float(np.median(own)) for own in times]
    return (
        f"{PROMPTS} prompts, {passes} rounds: {rates[0]:.1f} prompts a second by the store,"
        f" {rates[1]:.1f} by a plain forward pass: ratio {rates[0] / rates[1]:.3f};"
        f" noise floor {rates[2] / rates[1]:.3f}"
    )


@torch.inference_mode()
def forward(model: PreTrainedModel, readings: Sequence[Reading]) -> None:
    """A plain pass in the store's batches, to the last position's logits."""
    model.train(False)
    for batch in batches_of(readings):
        ids, mask = left_padded([reading.ids for reading in batch], model.device)
        model(input_ids=ids, attention_mask=mask, logits_to_keep=1, use_cache=False)


def _seconds(run: Callable[[], None]) -> float:
    start = time.monotonic()
    run()
    return time.monotonic() - start


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
