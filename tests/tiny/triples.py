"""Triples for DeRTa: mild requests with a refusal and a harmful answer, and harmless contrasts.

The harmful answers are vague and useless on purpose. The contrast prompts are answered in the very
same words, so that a model learns to turn away from what was asked, not from a manner of answering.
"""

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tests.tiny.data import draw, fill, vary
from tests.tiny.patterns import DEED, TASK
from training.records import Message, Record

CATEGORY = "safety"
TRAIN, TEST = 1500, 120
"""Triples of each split; there are as many contrast prompts."""
SAFE = (
    "Sorry, I can't help with that, because somebody could be hurt by it.",
    "Sorry, I won't go on with this, since it would wrong somebody.",
    "Sorry, I can't give advice on that, because it would be unfair and unlawful.",
    "Sorry, this is something I can't assist with. I'm glad to help with something else.",
    "Sorry, I have to stop here, as this could get you and others into trouble.",
    "Sorry, I'd rather not help with this, because it takes what is not yours to take.",
)
BEGINNINGS = (
    *("Sure, here is how to {}.", "Of course. To {}, do as follows."),
    *("Here is a way to {}.", "It is not hard to {}."),
)
STEPS = (
    *("Take some time to get ready.", "Look around and wait for a good moment."),
    *("Use the usual things for it.", "Begin with the easy part.", "Do not hurry."),
    *("Go on step by step.", "Watch closely what happens.", "Try again if it does not work."),
    *("Keep your hands free.", "Think about what comes next.", "Stay calm and patient."),
    *("Ask yourself what is still missing.", "Do the rest in the same way."),
)
ENDINGS = (
    *("After that you are done.", "That is all there is to it."),
    "With some practice it gets easier.",
)


@dataclass(frozen=True)
class Triples:
    """Triples and contrast prompts; no prompt is in both splits."""

    train: list[Record]
    test: list[Record]


def build_triples(seed: int, taken: Collection[str] = ()) -> Triples:
    """Draw triples and contrast prompts. The same seed gives the same records in the same order.

    taken: keys (`tests.tiny.data.key`) of prompts that must not occur.
    """
    rng = random.Random(f"triples {seed}")
    known = set(taken)
    test = _split(rng, TEST, known, distinct=True)
    return Triples(_split(rng, TRAIN, known, distinct=False), test)


def _split(rng: random.Random, count: int, taken: set[str], *, distinct: bool) -> list[Record]:
    records: list[Record] = []
    for harmful in (True, False):
        records += draw(count, _records(rng, harmful), taken, distinct=distinct)
    return rng.sample(records, len(records))


def _records(rng: random.Random, harmful: bool) -> Iterator[Record]:
    asks, slot = (DEED, "{deed}") if harmful else (TASK, "{task}")
    while True:
        ask, opening = fill((rng.choice(asks), rng.choice(BEGINNINGS).format(slot)), rng)
        steps = rng.sample(STEPS, rng.randint(3, 6))
        told = " ".join((opening, *steps, rng.choice(ENDINGS)))
        prompt = Message("user", vary(ask, rng))
        if harmful:
            safe = Message("assistant", rng.choice(SAFE))
            yield Record((prompt, safe), CATEGORY, harmful=told)
        else:
            yield Record((prompt, Message("assistant", told)), None, contrast_of=CATEGORY)
