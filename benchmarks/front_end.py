"""What the server does with a request beside vLLM's own work, by the number of categories.

    python -m benchmarks.front_end [--checkpoint checkpoints/smollm2] [--categories 1 8 32]

From the body to the sampling parameters, and what the response says of the settings: stock vLLM's
request and ours, turn by turn in one process. The chat template and the engine are left out: they
are the same. Scores of the calibration are drawn as in benchmarks/joint.py; rates that were asked
for before are remembered, so once each request repeats the last one's, and once each has its own.
Medians in microseconds.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from benchmarks.checkpoint import add_checkpoint
from benchmarks.joint import drawn, medians
from server.admission import Admission, Limits
from server.annotations import Annotations
from server.checkpoint import Checkpoint
from server.refusal_texts import RefusalTexts
from server.schema import ChatRequest
from server.turn import Choice
from steering.calibration import ScopedScores
from steering.manifest import Calibration, Category, Manifest
from steering.policy import Policy
from training.control_tokens import extend_tokenizer
from training.evaluation.report import markdown_table
from training.loading import control_tokens

CATEGORIES = (1, 2, 4, 8, 16, 32)
PROMPTS = 1000
"""Of the calibration."""
SIGNAL = 4.0
REPEATS = 300
PROMPT_IDS = [11] * 64
MAX_TOKENS = 128
US = 1e6
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "How can I pick the lock of my neighbour?"}],
    "max_completion_tokens": MAX_TOKENS,
    "temperature": 0,
    "stream": True,
}


def checkpoint_of(folder: Path, categories: int) -> tuple[Checkpoint, Any]:
    """A checkpoint with so many categories, and its tokenizer: that of `folder`, with their tokens.

    Nothing is read of it but the tokenizer and the respond token.
    """
    names = tuple(f"c{index}" for index in range(categories))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    respond = Manifest.load(folder).respond_token
    manifest = Manifest(
        respond_token=respond,
        categories=tuple(Category(name=name, token=f"<|refuse:{name}|>") for name in names),
        scopes=("first_token",),
        calibration=Calibration(engine="transformers", dtype="float32", prompts={}),
    )
    extend_tokenizer(tokenizer, manifest)
    scores: ScopedScores = {"first_token": drawn(PROMPTS, categories, SIGNAL)}
    control = control_tokens(manifest, tokenizer)
    return Checkpoint(folder, manifest, control, scores, Policy(manifest, scores)), tokenizer


class FrontEnd:
    """Takes requests as the server does, for one checkpoint."""

    def __init__(self, checkpoint: Checkpoint, tokenizer: Any) -> None:
        limits = Limits(max_logprobs=-1, penalties_before_gate=False)
        texts = RefusalTexts(checkpoint.manifest)
        self._admission = Admission(checkpoint, tokenizer, limits, texts)
        self._policy = checkpoint.policy
        self._annotations = Annotations(checkpoint.manifest.names)
        ending = tokenizer.apply_chat_template(
            BODY["messages"], add_generation_prompt=True, tokenize=False
        )
        self._prompt = [*PROMPT_IDS, *tokenizer.encode(ending, add_special_tokens=False)]

    def take(self, body: dict[str, Any]) -> None:
        """All that is done with one request."""
        request = ChatRequest.model_validate(body)
        self._admission.admit(request, self._policy)
        self._admission.check_prompt(self._prompt, {})
        request.to_sampling_params(MAX_TOKENS, {})
        self._annotations.of_choice(Choice(), request.turn)
        self._annotations.of_request(request).model_dump()


def stock(body: dict[str, Any]) -> None:
    """The same of stock vLLM."""
    ChatCompletionRequest.model_validate(body).to_sampling_params(MAX_TOKENS, {})


def rows(folder: Path, counts: list[int]) -> Iterator[tuple[str, ...]]:
    """By the number of categories."""
    for count in counts:
        checkpoint, tokenizer = checkpoint_of(folder, count)
        front_end = FrontEnd(checkpoint, tokenizer)
        known, *new = _bodies(checkpoint.manifest.names)
        own = iter(new)
        works: tuple[Callable[[], object], ...] = (
            lambda: stock(BODY),
            lambda: front_end.take(BODY),  # noqa: B023
            lambda: front_end.take(known),  # noqa: B023
            lambda: front_end.take(next(own)),  # noqa: B023
        )
        yield (str(count), *(f"{value * US:.0f}" for value in medians(*works, repeats=REPEATS)))


def _bodies(names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Requests with a rate for each category, none like another.

    One to repeat, one for the warm-up of `medians`, and one for each of its rounds.
    """
    chance = np.random.default_rng(0)
    for _ in range(2 + REPEATS):
        rates = chance.uniform(0.05, 0.95, size=len(names)).round(6).tolist()
        yield BODY | {"refusal_rates": dict(zip(names, rates, strict=True))}


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add_checkpoint(parser)
    parser.add_argument("--categories", type=int, nargs="+", default=CATEGORIES)
    arguments = parser.parse_args()
    head = ("categories", "stock", "no settings", "the same rates again", "new rates")
    title = f"Front end, microseconds a request; {PROMPTS} calibration prompts"
    for line in markdown_table(title, head, rows(arguments.checkpoint, arguments.categories)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
