"""Stock vLLM and Demur answer in turn, in one server: what the dial costs, to a percent.

    python -m benchmarks.serving.in_turn [--at-once 1 8 32] [--blocks 200] [--layers 16]

`make bench` keeps an arm under load for seconds before it goes to the next. Here, in a server that
is both (benchmarks/serving/shared.py), each of the arms a, a2, b and c has its turn in every block,
in random order and in the next block backwards: as many answers of 128 tokens as are written at
once, a control token in front not counted, asked for by the request function of `vllm bench serve`,
all at the same time. Medians over the blocks, and of differences within them, with 95% bootstrap
intervals.
"""

import argparse
import asyncio
import itertools
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from vllm.benchmarks.lib.endpoint_request_func import (
    RequestFuncInput,
    async_request_openai_chat_completions,
)

from benchmarks.serving.arms import ARMS, IN_SHARED, PAIRS, settings
from benchmarks.serving.bench import SHARED, single_turns
from benchmarks.serving.compare import FIRST, METRICS, Floats
from benchmarks.serving.deeper import deepen
from benchmarks.serving.load import MODEL
from benchmarks.serving.machine import Cores
from benchmarks.serving.opening import control_tokens
from benchmarks.serving.results import Spent, of_bench
from benchmarks.serving.servers import started
from benchmarks.serving.shared import side
from benchmarks.turns import later, options, times_first
from steering.manifest import Manifest
from training.evaluation.report import markdown_table
from training.progress import Progress

BLOCKS = 200
TOKENS = 128
WARM_UP = 2
"""Blocks that are not counted."""
UNCOUNTED = Spent(front_s=0, engine_s=0, requests=0, first_s=0, queue_s=0, prefill_s=0)
RATIOS = ("throughput", "tpot")
FIGURES = (*RATIOS, "step", *FIRST)
HEAD = (
    "at once",
    "",
    *(METRICS[name] for name in RATIOS),
    *(f"{of}, steps" for of in FIRST.values()),
)


class Turns:
    """Blocks of answers by the server at `url`."""

    def __init__(self, url: str, prompts: Sequence[str], manifest: Manifest) -> None:
        self._url = url
        in_front = control_tokens(side(url, ours=False), prompts, manifest.tokens)
        self._prompts = itertools.cycle(zip(prompts, in_front, strict=True))
        self._names = manifest.names
        self._numbers = itertools.count()

    def block(self, at_once: int, order: Sequence[str]) -> dict[str, dict[str, float]]:
        """Every arm's figures, for the same prompts."""
        prompts, in_front = zip(*itertools.islice(self._prompts, at_once), strict=True)
        number, found = next(self._numbers), {}
        for arm in order:
            gated = ARMS[arm].gated
            url = side(self._url, ours=gated)
            bodies = settings(ARMS[arm], self._names, at_once, f"{arm}/{number}")
            own = (0,) * at_once if gated else in_front
            found[arm] = asyncio.run(self._answers(url, prompts, bodies, own))
        return found

    async def _answers(
        self,
        url: str,
        prompts: Sequence[str],
        bodies: Sequence[dict[str, Any]],
        in_front: Sequence[int],
    ) -> dict[str, float]:
        asked = [
            RequestFuncInput(
                prompt=prompt,
                api_url=f"{url}/v1/chat/completions",
                prompt_len=0,
                output_len=TOKENS + more,
                model=MODEL,
                ignore_eos=True,
                extra_body={"temperature": 0.0, **body},
            )
            for prompt, body, more in zip(prompts, bodies, in_front, strict=True)
        ]
        async with aiohttp.ClientSession() as session:
            start = time.perf_counter()
            outputs = await asyncio.gather(
                *(async_request_openai_chat_completions(each, session) for each in asked)
            )
            seconds = time.perf_counter() - start
        if failed := [output.error for output in outputs if not output.success]:
            raise ValueError(f"{len(failed)} of {len(outputs)} requests failed: {failed[0]}")
        columns = {
            "errors": "error",
            "itls": "itl",
            "output_lens": "output_tokens",
            "ttfts": "ttft",
            "latencies": "latency",
            "generated_texts": "generated_text",
        }
        found = {
            theirs: [getattr(output, own) for output in outputs] for theirs, own in columns.items()
        }
        return of_bench({"duration": seconds, **found}, in_front, UNCOUNTED).figures()


def measure(turns: Turns, at_once: int, blocks: int) -> dict[str, Floats]:
    """Every figure, [arms, blocks]."""
    chance, found = np.random.default_rng(0), []
    arms: list[str] = []
    with Progress(f"{at_once} at once", blocks, unit="block") as progress:
        for number in range(WARM_UP + blocks):
            arms = arms[::-1] if number % 2 else chance.permutation(IN_SHARED).tolist()
            own = turns.block(at_once, arms)
            if number >= WARM_UP:
                found.append(own)
                progress.advance()
    return {
        name: np.array([[block[arm][name] for block in found] for arm in IN_SHARED])
        for name in FIGURES
    }


def rows(at_once: int, found: dict[str, Floats]) -> Iterator[tuple[str, ...]]:
    """Of the table: stock vLLM's medians, and what each pair of arms comes to."""
    medians = {name: np.median(values[0]) for name, values in found.items()}
    yield (
        str(at_once),
        f"a {ARMS['a'].title}",
        *(f"{medians[name]:.4g}" for name in RATIOS),
        *(f"{medians[name]:.4g} ms" for name in FIRST),
    )
    for arm, base in (pair for pair in PAIRS if {*pair} <= {*IN_SHARED}):
        both = [IN_SHARED.index(name) for name in (base, arm)]
        yield (
            "",
            f"{arm} / {base}",
            *(str(times_first(found[name][both], 1)) for name in RATIOS),
            *(str(later(found[name][both], 1, found["step"][both[0]])) for name in FIRST),
        )


def run(arguments: argparse.Namespace, folder: Path) -> None:
    """Print the table as Markdown. Raises ValueError where nothing can be measured."""
    cores = Cores.of(frozenset(os.sched_getaffinity(0)))
    checkpoint = arguments.checkpoint
    manifest = Manifest.load(checkpoint)
    prompts = single_turns(checkpoint, manifest.names)
    if arguments.layers is not None:
        checkpoint = deepen(checkpoint, arguments.layers, folder / "checkpoint")
    os.sched_setaffinity(0, cores.client)
    with started(SHARED, checkpoint, folder / "server.log", cores) as server:
        turns = Turns(server.url, prompts, manifest)
        found = (
            row
            for at_once in arguments.at_once
            for row in rows(at_once, measure(turns, at_once, arguments.blocks))
        )
        for line in markdown_table("Answers in turn", HEAD, found):
            print(line, flush=True)


def main() -> int:
    """Returns the exit code."""
    arguments = options(__doc__ or "", BLOCKS)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(arguments, Path(folder))
        except ValueError as error:
            print(f"benchmarks.serving.in_turn: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
