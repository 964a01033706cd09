"""What the gate costs vLLM's engine: answers written without it and with it, in one engine.

    python -m benchmarks.engine [--at-once 1 8 32] [--layers 16] [--turns 10]

One engine in this process, on one core, has the gate in its sampler or not, in turn: two engines
would differ by where their memory happens to lie. So many requests as `--at-once` says are always
running, each at another place of its answer; where one ends the next one begins. An answer has 128
tokens, and with the gate a control token before them. CPU time; ratios are of the same turn's
pairs, with 95% intervals. "By parts" is the ratio as the gate's own calls have it, which a noisy
machine does not blur: 129 steps instead of 128, and gated answers over what is left of them without
the time in these calls. `--layers` as in `python -m benchmarks.serving`.
"""

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.sampling_params import SamplingParams
from vllm.v1.engine.llm_engine import LLMEngine

from benchmarks.serving.compare import ratio
from benchmarks.serving.deeper import deepen
from benchmarks.switch import Switch
from benchmarks.timed_gate import Spent, TimedGate
from server import launch
from server.checkpoint import Checkpoint
from steering.wire import RowSettings
from training.evaluation.report import markdown_table

FLAGS = ("--enforce-eager", "--no-enable-prefix-caching", "--disable-log-stats")
GATE = f"{TimedGate.__module__}:{TimedGate.__qualname__}"
AT_ONCE = (1, 8, 32)
TURNS = 10
TOKENS = 128
PROMPT_IDS = [11] * 40
STOCK, AGAIN, GATED = "stock", "stock again", "gated"
US, MS = 1e6, 1e3


@dataclass(frozen=True)
class Turn:
    """What some answers took."""

    seconds: float
    """CPU time of all of them."""
    answers: int
    masking: Spent
    """Steps of the gate in which nothing is decided."""
    deciding: Spent
    """The others."""

    @property
    def answer(self) -> float:
        """Seconds an answer."""
        return self.seconds / self.answers

    @property
    def by_parts(self) -> float:
        """Times what they would have taken without the gate."""
        inside = self.masking.seconds + self.deciding.seconds
        return (TOKENS + 1) / TOKENS * self.seconds / (self.seconds - inside)


class Engine:
    """vLLM's engine, whose gate can be taken out."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        args = launch.parse([str(checkpoint.path), *FLAGS])
        launch.put_gate_in(args, checkpoint, checkpoint.policy, GATE)
        launch.compile_nothing_in_vain(eager=True)
        engine_args = AsyncEngineArgs.from_cli_args(args)
        self._engine = LLMEngine.from_engine_args(engine_args)
        [self._switch] = self._engine.collective_rpc(_switch_of)
        if not isinstance(self._switch.gate, TimedGate):
            raise TypeError(f"the engine's gate is {self._switch.gate!r}, without a clock")
        self.gate = self._switch.gate
        self.gate.forget()
        off = (float("inf"),) * len(checkpoint.control.refuse)
        self._answered = RowSettings(off).to_extra_args()
        self._numbers = itertools.count()
        self._running: set[str] = set()

    def time(self, at_once: int, *, gated: bool) -> Turn:
        """Answers, `at_once` of them being written at any time, in steady state."""
        self._switch.set_gated(gated=gated)
        for number in range(at_once):
            self._begin(TOKENS * (number + 1) // at_once, gated=gated)
        self._finish(max(1, at_once // 4), gated=gated)
        self.gate.forget()
        start = time.process_time()
        self._finish(at_once, gated=gated)
        spent = time.process_time() - start
        self._engine.abort_request(list(self._running))
        self._running.clear()
        while self._engine.has_unfinished_requests():
            self._engine.step()
        return Turn(spent, at_once, self.gate.masking, self.gate.deciding)

    def _begin(self, tokens: int, *, gated: bool) -> None:
        params = SamplingParams(
            temperature=0.0,
            # The control token is one of the engine's tokens, and none of the answer's.
            max_tokens=tokens + gated,
            ignore_eos=True,
            detokenize=False,
            extra_args=self._answered if gated else None,
        )
        number = str(next(self._numbers))
        self._engine.add_request(number, {"prompt_token_ids": PROMPT_IDS}, params)
        self._running.add(number)

    def _finish(self, answers: int, *, gated: bool) -> None:
        """Step until so many have ended; in each one's place the next one begins."""
        while answers > 0:
            for output in self._engine.step():
                if output.finished:
                    answers -= 1
                    self._running.remove(output.request_id)
                    self._begin(TOKENS, gated=gated)


def _switch_of(worker: Any) -> Switch:
    return Switch(worker.model_runner.input_batch)


def measure(engine: Engine, at_once: int, turns: int) -> tuple[str, ...]:
    """A row of the table."""
    kinds = (STOCK, GATED, AGAIN)
    found: dict[tuple[str, int], Turn] = {}
    for turn in range(turns + 1):
        for kind in kinds[:: 1 if turn % 2 else -1]:
            found[kind, turn] = engine.time(at_once, gated=kind == GATED)
    # The first turn is the warm-up.
    answers = {key: turn.answer for key, turn in found.items() if key[1]}
    gated, stock = ([found[kind, turn] for turn in range(1, turns + 1)] for kind in (GATED, STOCK))
    return (
        str(at_once),
        f"{MS * _median(turn.answer for turn in stock) * at_once / TOKENS:.2f}",
        *(str(ratio(answers, kind, STOCK)) for kind in (AGAIN, GATED)),
        f"{_median(turn.by_parts for turn in gated):.3f}",
        f"{US * _median(turn.masking.mean for turn in gated):.0f}",
        f"{US * _median(turn.deciding.mean for turn in gated):.0f}",
    )


def _median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/demo"))
    parser.add_argument("--layers", type=int)
    parser.add_argument("--at-once", type=int, nargs="+", default=AT_ONCE)
    parser.add_argument("--turns", type=int, default=TURNS)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    # Engine and model run in this process.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.checkpoint
        if arguments.layers is not None:
            try:
                path = deepen(path, arguments.layers, Path(folder) / "checkpoint")
            except ValueError as error:
                parser.error(str(error))
        engine = Engine(launch.load_checkpoint(str(path)))
        head = ("at once", "a step, ms", AGAIN, GATED, "by parts", "mask, us", "decision, us")
        title = "The engine's CPU time of an answer, times stock's"
        rows = (measure(engine, at_once, arguments.turns) for at_once in arguments.at_once)
        for line in markdown_table(title, head, rows):
            print(line, flush=True)


if __name__ == "__main__":
    main()
