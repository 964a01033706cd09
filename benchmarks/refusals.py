"""What a refusal costs: the model's own words against a template's, on one running server.

    python -m benchmarks.refusals http://127.0.0.1:8000/v1 --data CHECKPOINT/prompts/test.jsonl

The same prompts are refused, by a threshold of 0 for their category, in blocks of either kind:
generated, template, template, generated, and so on, after a warm-up of each. Both kinds find their
prompts in the prefix cache then. A request's time is the client's, from sending it to its whole
answer; its tokens are those that the engine writes, the control token among them. Ratios are of
means, with a bootstrap interval over pairs of the same prompt in the same repetition. The noise
floor is the second block of generated refusals against the first.
"""

import argparse
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

from training.datasets.load import load_records
from training.evaluation.target import SERVER_KEY
from training.records import Record

Words = Literal["generated", "template"]
ABBA: tuple[Words, ...] = ("generated", "template", "template", "generated")
CONTROL_TOKENS = 1
"""Tokens of a refusal that the response does not count."""
CONFIDENCE = 0.95

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A ratio of two means, and where it lies with 95% confidence."""

    ratio: float
    low: float
    high: float

    @classmethod
    def of(cls, times: Times, base: Times) -> "Interval":
        """The mean of `times` ([pairs]) against that of `base` ([pairs], of the same things)."""

        def ratio(own: Times, other: Times, axis: int = -1) -> Times:
            found: Times = own.mean(axis=axis) / other.mean(axis=axis)
            return found

        found = bootstrap(
            (times, base),
            ratio,
            paired=True,
            vectorized=True,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        return cls(float(ratio(times, base)), float(found.low), float(found.high))

    def __str__(self) -> str:
        return f"{self.ratio:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Measured:
    """What came of every block: repetitions r, blocks of ABBA, prompts p."""

    seconds: Times
    """[r, 4, p]"""
    tokens: npt.NDArray[np.int64]
    """[r, 4, p] that the engine wrote."""

    def of(self, words: Words) -> tuple[Times, npt.NDArray[np.int64]]:
        """Seconds and tokens of one kind, [r, 2, p]."""
        own = [index for index, kind in enumerate(ABBA) if kind == words]
        return self.seconds[:, own], self.tokens[:, own]

    def cost(self) -> Interval:
        """End-to-end time of a template's refusal against a generated one."""
        template, generated = (
            self.of(words)[0].mean(axis=1).ravel() for words in ("template", "generated")
        )
        return Interval.of(template, generated)

    def noise(self) -> Interval:
        """Of the second generated block against the first."""
        seconds, _ = self.of("generated")
        return Interval.of(seconds[:, 1].ravel(), seconds[:, 0].ravel())


class Bench:
    """A running server, and prompts that it is made to refuse."""

    def __init__(self, client: httpx.Client, records: Sequence[Record]) -> None:
        self._client = client
        self._records = records

    def measure(self, repetitions: int, concurrency: int) -> Measured:
        """Ask everything in ABBA blocks; concurrency: requests that are under way at once."""
        with ThreadPoolExecutor(concurrency) as workers:
            for words in ABBA[:2]:
                self._block(words, workers)
            found = np.array(
                [[self._block(words, workers) for words in ABBA] for _ in range(repetitions)]
            )  # [r, 4, p, 2]
        return Measured(found[..., 0], found[..., 1].astype(np.int64))

    def _block(self, words: Words, workers: ThreadPoolExecutor) -> list[tuple[float, int]]:
        return list(workers.map(lambda record: self._ask(record, words), self._records))

    def _ask(self, record: Record, words: Words) -> tuple[float, int]:
        body = {
            **record.prompt.fields(),
            "temperature": 0,
            "refusal_thresholds": {record.category: 0.0},
            "refusal_text": words,
        }
        start = time.perf_counter()
        answer = self._client.post("chat/completions", json=body)
        seconds = time.perf_counter() - start
        if answer.is_error:
            raise SystemExit(f"{answer.request.url}: {answer.text}")
        done: dict[str, Any] = answer.json()
        assert done["choices"][0]["message"]["refusal"]
        return seconds, done["usage"]["completion_tokens"] + CONTROL_TOKENS


def rows(concurrency: int, measured: Measured) -> list[str]:
    """Lines of the table for one concurrency."""
    lines = []
    for words in ("generated", "template"):
        seconds, tokens = measured.of(words)
        middle, late = np.quantile(seconds, [0.5, 0.95]) * 1000
        ratio = str(measured.cost()) if words == "template" else f"1; noise {measured.noise()}"
        lines.append(
            f"| {concurrency} | {words} | {tokens.mean():.1f} | {seconds.mean() * 1000:.1f} |"
            f" {middle:.1f} | {late:.1f} | {ratio} |"
        )
    return lines


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("url", metavar="URL", help=f"http://HOST:PORT/v1; its key: {SERVER_KEY}")
    parser.add_argument("--data", nargs="+", required=True, metavar="SOURCE", help="prompts")
    parser.add_argument("--prompts", type=int, default=32, metavar="N", help="of the refusable")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32], metavar="N")
    arguments = parser.parse_args()
    refusable = [record for record in load_records(arguments.data) if record.category is not None]
    records = refusable[: arguments.prompts]
    if not records:
        parser.error("--data holds no prompt with a category")
    key = os.environ.get(SERVER_KEY)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    print(f"{len(records)} prompts, {arguments.repetitions} repetitions of {', '.join(ABBA)}\n")
    print("| at once | words | tokens | mean ms | median ms | 95% ms | ratio of means |")
    print("| --- " * 7 + "|")
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(
        base_url=arguments.url, headers=headers, timeout=600, limits=limits
    ) as client:
        bench = Bench(client, records)
        for concurrency in arguments.concurrency:
            print("\n".join(rows(concurrency, bench.measure(arguments.repetitions, concurrency))))


if __name__ == "__main__":
    main()
