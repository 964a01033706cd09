"""What training did to a base's own answers: divergence per token, and greedy texts that are equal.

    python -m benchmarks.kept --checkpoint DIR --base DIR [--prompts 40] [--tokens 48]

The base answers harmless test prompts of the demonstration greedily, by transformers. Printed is
the mean divergence of the checkpoint's distribution from the base's at the positions of those
answers, in nats (KL, over the base's 32 likeliest tokens and the rest as one), and how many greedy
answers of the checkpoint, after its respond token if it has one, are the base's, whole and in their
first ten tokens.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from steering.manifest import Manifest
from training.base_answers import BaseAnswers, answer
from training.demo.prompts import splits
from training.loading import control_tokens, load
from training.losses import divergence
from training.rendering import prompt_ids
from training.states import Reading, forward
from training.threads import wait_without_spinning

FIRST = 10
"""Tokens of an answer's beginning."""


def main(argv: Sequence[str] | None = None) -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR")
    parser.add_argument("--base", type=Path, required=True, metavar="DIR")
    parser.add_argument("--prompts", type=int, default=40, metavar="N")
    parser.add_argument("--tokens", type=int, default=48, metavar="N")
    arguments = parser.parse_args(argv)
    wait_without_spinning()
    model, tokenizer = load(arguments.checkpoint)
    control = control_tokens(Manifest.load(arguments.checkpoint), tokenizer)
    records = [each for each in splits(0).test if each.category is None][: arguments.prompts]
    prompts = [prompt_ids(tokenizer, record.prompt) for record in records]
    opened = [
        [*ids, *([control.respond] if control.respond is not None else [])] for ids in prompts
    ]
    base, _ = load(arguments.base)
    theirs = answer(base, tokenizer, [], prompts, arguments.tokens)
    ours = answer(model, tokenizer, control.ids, opened, arguments.tokens)
    apart = divergences(model, control.ids, opened, theirs)
    pairs = list(zip(theirs.ids, ours.ids, strict=True))
    whole = sum(one == other for one, other in pairs)
    begun = sum(one[:FIRST] == other[:FIRST] for one, other in pairs)
    print(f"{len(pairs)} answers of up to {arguments.tokens} tokens")
    print(f"divergence per token: mean {apart.mean():.4f}, median {apart.median():.4f} nats")
    print(f"equal: {whole} whole, {begun} in their first {FIRST} tokens")


def divergences(
    model: torch.nn.Module,
    control: Sequence[int],
    prompts: Sequence[list[int]],
    base: BaseAnswers,
) -> torch.Tensor:
    """Of every position of the base's answers to `prompts`, in their order: [N] nats."""
    found: dict[int, torch.Tensor] = {}
    starts = [own.start for own in base.by_prompt().values()]
    readings = {
        at: Reading([*ids, *own[:-1]], range(len(ids) - 1, len(ids) + len(own) - 1))
        for at, (ids, own) in enumerate(zip(prompts, base.ids, strict=True))
    }
    places = {id(reading): at for at, reading in readings.items()}
    for batch, _, logits in forward(model, list(readings.values())):  # type: ignore[arg-type]
        logits[:, list(control)] = -torch.inf
        parts = torch.split(logits, [len(reading.positions) for reading in batch])
        for reading, own in zip(batch, parts, strict=True):
            at = places[id(reading)]
            span = slice(starts[at], starts[at] + len(own))
            found[at] = divergence(own, base.top.ids[span], base.top.logprobs[span])
    return torch.cat([found[at] for at in range(len(readings))])


if __name__ == "__main__":
    main()
