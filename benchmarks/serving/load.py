"""vLLM's own load generator, `vllm bench serve`, called as a module in this process.

The `vllm` command does not run with the package for CPUs (see benchmarks/serving/stock.py), and
one process for all loads imports vLLM once.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm.benchmarks import serve
from vllm.utils.argparse_utils import FlexibleArgumentParser

from benchmarks.serving.cells import Cell
from benchmarks.serving.results import Requests, of_bench
from benchmarks.serving.spent import Meter
from tests.e2e.server import Server

MODEL = "benchmark"
"""What every server calls the model."""


@dataclass(frozen=True)
class Target:
    """Where requests go, and what they are made of."""

    server: Server
    url: str
    """Where clients ask: the server, or the guard in front of it."""
    tokenizer: Path
    prompts: Path
    """JSON lines of `{"prompt": ...}`."""
    tokens: int
    """Of an answer, at most."""
    log: Path


def arguments(target: Target, cell: Cell, rate: float | None, seed: int) -> list[str]:
    """The command line of `vllm bench serve`; rate: requests a second of a cell that has one."""
    words: list[object] = ["--backend", "openai-chat", "--endpoint", "/v1/chat/completions"]
    words += ["--base-url", target.url, "--model", target.tokenizer, "--served-model-name", MODEL]
    words += ["--dataset-name", "custom", "--dataset-path", target.prompts, "--disable-shuffle"]
    words += ["--skip-chat-template", "--custom-output-len", target.tokens]
    words += ["--num-prompts", cell.requests, "--temperature", 0, "--seed", seed]
    words += ["--save-detailed", "--disable-tqdm"]
    if not cell.natural:
        words += ["--ignore-eos"]
    if cell.concurrency is not None:
        words += ["--max-concurrency", cell.concurrency]
    else:
        words += ["--request-rate", rate]
    return [str(word) for word in words]


def put_under(
    target: Target,
    cell: Cell,
    rate: float | None,
    seed: int,
    settings: Sequence[dict[str, Any]],
    control_tokens: Sequence[int],
) -> Requests:
    """Send a cell's requests, each with its own settings in its body.

    control_tokens: how many each answer has in front that `usage` counts; they come on top.
    """
    bodies = [
        own | {"max_completion_tokens": target.tokens + more}
        for own, more in zip(settings, control_tokens, strict=True)
    ]
    parser = FlexibleArgumentParser()  # type: ignore[no-untyped-call]
    serve.add_cli_args(parser)
    args = parser.parse_args(arguments(target, cell, rate, seed))
    with target.log.open("a") as log, contextlib.redirect_stdout(log), _each_with(bodies):
        meter = Meter(target.server)
        result = serve.main(args)
    return of_bench(result, control_tokens, meter.read())


@contextlib.contextmanager
def _each_with(bodies: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Let the load generator's samples carry `bodies`, in their order.

    `--extra-body` is one body for all requests. Samples have a body of their own,
    `request_overrides`, which `bench serve` merges into the request; only its data set of
    function calls fills it (vLLM 0.32). So it is filled here, behind the reading of the prompts;
    nothing else of the load generator is touched.
    """
    read = serve.get_samples  # type: ignore[attr-defined]

    def with_settings(args: Any, tokenizer: Any) -> Any:
        samples = read(args, tokenizer)
        for sample, own in zip(samples, bodies, strict=True):
            sample.request_overrides = own
        return samples

    serve.get_samples = with_settings  # type: ignore[assignment, attr-defined]
    try:
        yield
    finally:
        serve.get_samples = read  # type: ignore[attr-defined]


def write_prompts(path: Path, prompts: Sequence[str]) -> Path:
    """As `bench serve --dataset-name custom` reads them. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"prompt": prompt}, ensure_ascii=False) + "\n" for prompt in prompts)
    path.write_text("".join(lines), encoding="utf-8")
    return path
