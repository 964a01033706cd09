"""What the gate costs vLLM's engine: its steps with the gate and without it, in turn.

    python -m benchmarks.engine [--at-once 1 8 32] [--layers 16] [--blocks 1000]

One engine in this process, on one core, whose gate is taken out of the sampler and put in again
every few steps, while `--at-once` answers are being written: two engines would differ by where
their memory happens to lie, and two answers by what else the machine did. In a block each kind of
step has its turn, in random order: stock, stock again, gated. A turn is the step that one more
request joins for one token, about which the gate decides, a step that is not counted, and two in
which nothing is decided. Medians over the blocks of wall-clock times and of their differences, with
95% bootstrap intervals.

"An answer" puts these together for 128 tokens and the control token in front, which a step of its
own writes with the gate and without it. Every one of the answers at once joins one of the 129.
"""

import itertools
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.sampling_params import SamplingParams
from vllm.v1.engine.llm_engine import LLMEngine

from benchmarks.serving.compare import Estimate, Floats, bootstrapped
from benchmarks.serving.deeper import deepen
from benchmarks.switch import Switch
from benchmarks.turns import and_more, options, times_first
from server import launch
from server.checkpoint import Checkpoint
from steering.wire import RowSettings
from training.evaluation.report import markdown_table
from training.progress import Progress

FLAGS = ("--enforce-eager", "--no-enable-prefix-caching", "--disable-log-stats")
BLOCKS = 1000
TOKENS = 128
SETTLING = 4
"""Steps before the first block, in which the answers begin and caches fill."""
PLAIN = 2
"""Steps of a turn in which nothing is decided."""
AGAIN, GATED = "stock again", "gated"
KINDS = "stock", AGAIN, GATED
PROMPT_IDS = [11] * 40
MS = 1e3


@dataclass(frozen=True)
class Times:
    """Seconds a step, by kind and block: [3, n], in the order of KINDS."""

    joined: Floats
    """Of steps that a request joins."""
    plain: Floats
    """Of the others."""

    def answer(self, at_once: int) -> Estimate:
        """Times what stock takes for an answer, `at_once` being written."""

        def ratio(*stock_and_more: Floats, axis: int) -> Any:
            join, join_more, step, step_more = (
                np.median(found, axis=axis) for found in stock_and_more
            )
            others = 1 + TOKENS - at_once
            return 1 + (at_once * join_more + others * step_more) / (at_once * join + others * step)

        at = KINDS.index(GATED)
        return bootstrapped(ratio, *and_more(self.joined, at), *and_more(self.plain, at))


class Engine:
    """vLLM's engine, whose gate can be taken out."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        args = launch.parse([str(checkpoint.path), *FLAGS])
        launch.put_gate_in(args, checkpoint, checkpoint.policy)
        launch.compile_nothing_in_vain(eager=True)
        engine_args = AsyncEngineArgs.from_cli_args(args)
        self._engine = LLMEngine.from_engine_args(engine_args)
        [self._switch] = self._engine.collective_rpc(_switch_of)
        off = (float("inf"),) * len(checkpoint.control.refuse)
        self._answered = RowSettings(off).to_extra_args()
        self._numbers = itertools.count()

    def blocks(self, at_once: int, rng: np.random.Generator) -> Iterator[list[tuple[float, float]]]:
        """Without end, what a step of each kind took: one that is joined, and one that is not."""
        while True:
            self._switch.set_gated(gated=True)
            running = [self._begin(TOKENS, gated=True) for _ in range(at_once)]
            for _ in range(SETTLING):
                self._step()
            for _ in range((TOKENS - SETTLING) // (len(KINDS) * (PLAIN + 2))):
                turns = {kind: self._turn(gated=kind == GATED) for kind in rng.permutation(KINDS)}
                yield [turns[kind] for kind in KINDS]
            self._engine.abort_request(running)
            while self._engine.has_unfinished_requests():
                self._step()

    def _turn(self, *, gated: bool) -> tuple[float, float]:
        self._switch.set_gated(gated=gated)
        self._begin(1, gated=gated)
        joined = self._step()
        # In this one the batch loses the request again.
        self._step()
        return joined, sum(self._step() for _ in range(PLAIN)) / PLAIN

    def _begin(self, tokens: int, *, gated: bool) -> str:
        number = str(next(self._numbers))
        params = SamplingParams(
            temperature=0.0,
            max_tokens=tokens,
            ignore_eos=True,
            detokenize=False,
            extra_args=self._answered if gated else None,
        )
        self._engine.add_request(number, {"prompt_token_ids": PROMPT_IDS}, params)
        return number

    def _step(self) -> float:
        start = time.perf_counter()
        self._engine.step()
        return time.perf_counter() - start


def _switch_of(worker: Any) -> Switch:
    return Switch(worker.model_runner.input_batch)


def measure(engine: Engine, at_once: int, blocks: int) -> Times:
    """Time so many blocks."""
    found = []
    with Progress(f"{at_once} at once", blocks, unit="block") as progress:
        for block in itertools.islice(engine.blocks(at_once, np.random.default_rng(0)), blocks):
            found.append(block)
            progress.advance()
    joined, plain = np.array(found).transpose(2, 1, 0)
    return Times(joined, plain)


def row(at_once: int, times: Times) -> tuple[str, ...]:
    """A row of the table."""
    figures = [str(at_once)]
    for found in (times.plain, times.joined):
        figures.append(f"{MS * np.median(found[0]):.2f}")
        figures += [str(times_first(found, at)) for at in range(1, len(KINDS))]
    return (*figures, str(times.answer(at_once)))


def main() -> None:
    """Print the table as Markdown."""
    arguments = options(__doc__ or "", BLOCKS, most=TOKENS)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    # Engine and model run in this process.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        try:
            checkpoint = launch.load_checkpoint(str(arguments.checkpoint))
            if arguments.layers is not None:
                deeper = deepen(checkpoint.path, arguments.layers, Path(folder) / "checkpoint")
                checkpoint = launch.load_checkpoint(str(deeper))
        except (launch.LaunchError, ValueError) as error:
            raise SystemExit(f"benchmarks.engine: {error}") from error
        engine = Engine(checkpoint)
        steps = ("a step, ms", AGAIN, GATED, "a joined step, ms", AGAIN, GATED)
        head = ("at once", *steps, "an answer, gated")
        rows = (row(each, measure(engine, each, arguments.blocks)) for each in arguments.at_once)
        for line in markdown_table("The engine's steps, times stock's", head, rows):
            print(line, flush=True)


if __name__ == "__main__":
    main()
