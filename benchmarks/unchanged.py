"""Are a frozen base's answers what they were? Texts of Demur with the dial at 0, and of stock vLLM.

    python -m benchmarks.unchanged --checkpoint DIR --base DIR [--prompts 200] [--tokens 64]

Stock vLLM serves the base's folder, then Demur the checkpoint, both in float32, and answer the same
harmless prompts greedily, a few at a time. Printed is how many texts are equal, and of each other
one the logprobs of the two tokens at which they part: a tie that rounding breaks is no change. Then
the largest difference of the base's own logits by transformers.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import torch

from benchmarks.serving.servers import PROGRAMS
from tests.e2e.server import client_of, serving
from training.demo.prompts import splits
from training.loading import load
from training.records import Prompt, Record
from training.rendering import prompt_ids

FLAGS = ("--served-model-name", "base", "--dtype", "float32")
AT_ONCE = 8
COMPARED = 8
"""Prompts whose logits are compared."""


@dataclass(frozen=True)
class Written:
    """A text, and the likeliest two tokens at each of its positions, with their logprobs."""

    tokens: tuple[str, ...]
    top: tuple[dict[str, float], ...]


def main(argv: Sequence[str] | None = None) -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR")
    parser.add_argument("--base", type=Path, required=True, metavar="DIR")
    parser.add_argument("--prompts", type=int, default=200, metavar="N")
    parser.add_argument("--tokens", type=int, default=64, metavar="N")
    arguments = parser.parse_args(argv)
    data = splits(0)
    plain = [each for each in (*data.train, *data.calibration, *data.test) if not each.tools]
    records = [record for record in plain if record.category is None][: arguments.prompts]
    stock = answers(arguments.base, records, arguments.tokens, dial=False)
    ours = answers(arguments.checkpoint, records, arguments.tokens, dial=True)
    for line in compare(stock, ours):
        print(line)
    prompts = [record.prompt for record in records[:COMPARED]]
    apart = logits_apart(arguments.base, arguments.checkpoint, prompts)
    print(f"largest difference of the base's logits by transformers: {apart:.2e}")


def answers(folder: Path, records: Sequence[Record], tokens: int, *, dial: bool) -> list[Written]:
    """What a server of `folder` writes to the records' prompts; dial: Demur, with the dial at 0."""
    program = PROGRAMS["ours" if dial else "stock"]
    found = []
    with (
        tempfile.TemporaryDirectory() as log,
        serving(folder, Path(log), FLAGS, program=program) as server,
        client_of(server) as http,
    ):
        fields = {"max_tokens": tokens, "temperature": 0, "logprobs": True, "top_logprobs": 2}
        settings = {"refusal_thresholds": off(http)} if dial else {}

        def ask(record: Record) -> Written:
            body = record.prompt.fields() | fields | settings
            return _written(http.post("/v1/chat/completions", json=body))

        for written in ThreadPoolExecutor(AT_ONCE).map(ask, records):
            found.append(written)
            if len(found) % 20 == 0:
                print(f"{program[-1]}: {len(found)}/{len(records)}", file=sys.stderr)
    return found


def off(http: httpx.Client) -> dict[str, float]:
    """Thresholds that refuse nothing."""
    categories = http.get("/v1/refusal/categories").json()["categories"]
    return {category["name"]: 1.0 for category in categories}


def _written(response: httpx.Response) -> Written:
    response.raise_for_status()
    places = response.json()["choices"][0]["logprobs"]["content"]
    return Written(
        tuple(place["token"] for place in places),
        tuple({top["token"]: top["logprob"] for top in place["top_logprobs"]} for place in places),
    )


def compare(stock: Sequence[Written], ours: Sequence[Written]) -> Iterator[str]:
    """How many texts are equal, and where the others part."""
    equal = sum(one.tokens == other.tokens for one, other in zip(stock, ours, strict=True))
    yield f"{equal} of {len(stock)} texts are equal"
    for number, (one, other) in enumerate(zip(stock, ours, strict=True)):
        if one.tokens != other.tokens:
            pairs = zip(one.tokens, other.tokens, strict=False)
            at = next((place for place, pair in enumerate(pairs) if pair[0] != pair[1]), None)
            if at is None:
                yield f"  prompt {number}: one text is the beginning of the other"
            else:
                yield (
                    f"  prompt {number} parts at token {at}: stock's likeliest"
                    f" {one.top[at]}, Demur's {other.top[at]}"
                )


@torch.inference_mode()
def logits_apart(base: Path, checkpoint: Path, prompts: Sequence[Prompt]) -> float:
    """The largest difference between logits of the base's own tokens, at the last position."""
    (one, tokenizer), (other, _) = load(base), load(checkpoint)
    largest = 0.0
    for prompt in prompts:
        ids = torch.tensor([prompt_ids(tokenizer, prompt)])
        first, second = (model(input_ids=ids).logits[0, -1].float() for model in (one, other))
        largest = max(largest, float((first - second[: len(first)]).abs().max()))
    return largest


if __name__ == "__main__":
    main()
