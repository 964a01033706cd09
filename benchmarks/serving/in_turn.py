"""Stock vLLM and Demur answer in turn, in one server: what the dial costs, to a percent.

    python -m benchmarks.serving.in_turn [--at-once 1 8 32] [--blocks 200] [--layers 16]

`make bench` keeps an arm under load for seconds before it goes to the next. Here, in a server that
is both (benchmarks/serving/shared.py), each of the arms a, a2 and b has its turn in every block, in
random order: as many answers of 128 tokens as are written at once, asked for by the request
function of `vllm bench serve`, all at the same time. Medians over the blocks, and of differences
within them, with 95% bootstrap intervals.
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

from benchmarks.serving.arms import ARMS, settings
from benchmarks.serving.bench import SHARED, single_turns
from benchmarks.serving.compare import FIRST, Floats
from benchmarks.serving.deeper import deepen
from benchmarks.serving.load import MODEL
from benchmarks.serving.machine import Cores
from benchmarks.serving.results import Spent, of_bench
from benchmarks.serving.servers import started
from benchmarks.serving.shared import side
from benchmarks.turns import later, options, times_first
from steering.manifest import Manifest
from training.evaluation.report import markdown_table
from training.progress import Progress

KINDS = ("a", "a2", "b")
BLOCKS = 200
TOKENS = 128
WARM_UP = 2
"""Blocks that are not counted."""
UNCOUNTED = Spent(front_s=0, engine_s=0, requests=0, first_s=0, queue_s=0, prefill_s=0)
FIGURES = ("throughput", "tpot", "step", *FIRST)


class Turns:
    """Blocks of answers by the server at `url`."""

    def __init__(self, url: str, prompts: Sequence[str], names: Sequence[str]) -> None:
        self._url = url
        self._prompts = itertools.cycle(prompts)
        self._names = names

    def block(self, at_once: int, order: Sequence[str]) -> dict[str, dict[str, float]]:
        """Every arm's figures, for the same prompts."""
        prompts = list(itertools.islice(self._prompts, at_once))
        return {arm: self._turn(arm, prompts) for arm in order}

    def _turn(self, arm: str, prompts: Sequence[str]) -> dict[str, float]:
        url = side(self._url, ours=ARMS[arm].program == "ours")
        bodies = settings(ARMS[arm], self._names, len(prompts), arm)
        return asyncio.run(self._answers(url, prompts, bodies))

    async def _answers(
        self, url: str, prompts: Sequence[str], bodies: Sequence[dict[str, Any]]
    ) -> dict[str, float]:
        asked = [
            RequestFuncInput(
                prompt=prompt,
                api_url=f"{url}/v1/chat/completions",
                prompt_len=0,
                output_len=TOKENS,
                model=MODEL,
                ignore_eos=True,
                extra_body={"temperature": 0.0, **body},
            )
            for prompt, body in zip(prompts, bodies, strict=True)
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
        return of_bench({"duration": seconds, **found}, UNCOUNTED).figures()


def measure(turns: Turns, at_once: int, blocks: int) -> dict[str, Floats]:
    """Every figure, [arms, blocks]."""
    chance = np.random.default_rng(0)
    found = []
    with Progress(f"{at_once} at once", blocks, unit="block") as progress:
        for number in range(WARM_UP + blocks):
            own = turns.block(at_once, chance.permutation(KINDS).tolist())
            if number >= WARM_UP:
                found.append(own)
                progress.advance()
    return {
        name: np.array([[block[arm][name] for block in found] for arm in KINDS]) for name in FIGURES
    }


def row(at_once: int, found: dict[str, Floats]) -> Iterator[str]:
    """A row of the table."""
    yield str(at_once)
    for name in ("throughput", "tpot"):
        yield f"{np.median(found[name][0]):.4g}"
        for at in range(1, len(KINDS)):
            yield str(times_first(found[name], at))
    for name in FIRST:
        for at in range(1, len(KINDS)):
            yield str(later(found[name], at, found["step"][0]))


def head() -> tuple[str, ...]:
    """The table's head."""
    others = [ARMS[arm].title for arm in KINDS[1:]]
    return (
        "at once",
        *("tokens a second", *others),
        *("time per further token, ms", *others),
        *(f"{what} later by steps: {who}" for what in FIRST.values() for who in others),
    )


def run(arguments: argparse.Namespace, folder: Path) -> None:
    """Print the table as Markdown. Raises ValueError where nothing can be measured."""
    cores = Cores.of(frozenset(os.sched_getaffinity(0)))
    checkpoint = arguments.checkpoint
    names = Manifest.load(checkpoint).names
    prompts = single_turns(checkpoint, names)
    if arguments.layers is not None:
        checkpoint = deepen(checkpoint, arguments.layers, folder / "checkpoint")
    os.sched_setaffinity(0, cores.client)
    with started(SHARED, checkpoint, folder / "server.log", cores) as server:
        turns = Turns(server.url, prompts, names)
        rows = (
            tuple(row(at_once, measure(turns, at_once, arguments.blocks)))
            for at_once in arguments.at_once
        )
        for line in markdown_table("Answers in turn, times stock's", head(), rows):
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
