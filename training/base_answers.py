"""What the base itself answers to harmless prompts: what training keeps, and what may go on.

A harmless record without an answer is answered by the base, greedily. Where its distribution is to
be kept, its likeliest tokens are noted at every position.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, Self

import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from training.answers import ends_of
from training.losses import Top
from training.progress import Progress
from training.scoring import batches, left_padded
from training.states import Reading, forward

FILE = "base_answers.safetensors"
BATCH = 16
"""Prompts that are answered at a time."""
LIKELIEST = 32
"""Tokens whose probabilities are noted at a position."""


class OwnAnswer(NamedTuple):
    """One of the base's own answers."""

    ids: list[int]
    """Its tokens; the last one ends the turn, unless the answer was cut."""
    start: int
    """Where its positions begin among those of all answers."""


@dataclass(frozen=True)
class BaseAnswers:
    """The base's own answers to some prompts."""

    prompts: list[list[int]]
    """Token ids, up to where the answer begins."""
    ids: list[list[int]]
    """Each answer's tokens."""
    top: Top
    """At every position of every answer, in their order."""

    def by_prompt(self) -> dict[tuple[int, ...], OwnAnswer]:
        """The answers by their prompts' token ids."""
        starts = accumulate(map(len, self.ids), initial=0)
        return {
            tuple(prompt): OwnAnswer(ids, start)
            for prompt, ids, start in zip(self.prompts, self.ids, starts, strict=False)
        }

    def save(self, folder: Path) -> None:
        """Write them into `folder`."""
        tensors = {"top_ids": self.top.ids, "top_logprobs": self.top.logprobs}
        for name, rows in (("prompts", self.prompts), ("ids", self.ids)):
            tensors[f"{name}_lengths"] = torch.tensor(list(map(len, rows)), dtype=torch.int64)
            flat = [token for row in rows for token in row]
            tensors[name] = torch.tensor(flat, dtype=torch.int64)
        save_file(tensors, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Those in `folder`, or None if there are none."""
        if not (folder / FILE).is_file():
            return None
        found = load_file(folder / FILE)
        prompts, ids = (
            [row.tolist() for row in torch.split(found[name], found[f"{name}_lengths"].tolist())]
            for name in ("prompts", "ids")
        )
        return cls(prompts, ids, Top(found["top_ids"], found["top_logprobs"]))


def answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    control: Sequence[int],
    prompts: Sequence[list[int]],
    max_tokens: int,
) -> BaseAnswers:
    """The base's greedy answers to `prompts`, token ids.

    control: ids of the control tokens, which are never written, nor counted in the distributions.
    """
    ids: list[list[int]] = [[] for _ in prompts]
    stops = ends_of(model, tokenizer)
    settings = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=max_tokens,
        do_sample=False,
        suppress_tokens=list(control),
        eos_token_id=stops.tolist(),
        pad_token_id=tokenizer.pad_token_id,
    )
    model.train(False)
    with Progress("answering as the base", len(prompts), unit="prompt") as progress:
        for rows in batches(prompts, BATCH):
            padded, mask = left_padded([prompts[row] for row in rows], model.device)
            with torch.inference_mode():
                written = model.generate(  # type: ignore[operator]
                    padded, attention_mask=mask, generation_config=settings
                )
            for row, tokens in zip(rows, written[:, padded.shape[1] :].tolist(), strict=True):
                ids[row] = _up_to_end(tokens, set(stops.tolist()))
            progress.advance(len(rows))
    return BaseAnswers(list(prompts), ids, _likeliest(model, control, prompts, ids))


def _up_to_end(tokens: list[int], stops: set[int]) -> list[int]:
    end = next((place for place, token in enumerate(tokens) if token in stops), len(tokens))
    return tokens[: end + 1]


def _likeliest(
    model: PreTrainedModel,
    control: Sequence[int],
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
) -> Top:
    readings = [
        Reading([*prompt, *ids[:-1]], range(len(prompt) - 1, len(prompt) + len(ids) - 1))
        for prompt, ids in zip(prompts, answers, strict=True)
    ]
    place = {id(reading): at for at, reading in enumerate(readings)}
    found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for batch, _, logits in forward(model, readings):
        logits[:, list(control)] = -torch.inf
        top = logits.float().log_softmax(dim=1).topk(LIKELIEST, dim=1)
        sizes = [len(reading.positions) for reading in batch]
        parts = (torch.split(each.cpu(), sizes) for each in (top.indices, top.values))
        for reading, ids, logprobs in zip(batch, *parts, strict=True):
            found[place[id(reading)]] = (ids.clone(), logprobs.clone())
    ordered = [found[at] for at in range(len(readings))]
    if not ordered:
        return Top(torch.empty(0, LIKELIEST, dtype=torch.int64), torch.empty(0, LIKELIEST))
    return Top(torch.cat([ids for ids, _ in ordered]), torch.cat([each for _, each in ordered]))
