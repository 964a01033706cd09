"""The tiny model's records, drawn from a seed: what it is trained, calibrated and tested on."""

import random
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from tests.tiny.patterns import CONTRAST, FIXED, ORDINARY, REFUSALS, REFUSED, WORDS, Pattern
from training.records import Message, Record

SYSTEM_PROMPTS = ("You are a helpful assistant.", "Answer briefly.", "Be polite and honest.")
SYSTEM_RATE = 0.08
EARLIER_RATE = 0.06
FIXED_COPIES = 20
"""How often each prompt that tests ask by name is trained."""
DRAWS_PER_RECORD = 50  # a group that yields too few distinct prompts is a fault of its patterns


@dataclass(frozen=True)
class Group:
    """Records that share a label, and how many of them each split has."""

    category: str | None
    contrast_of: str | None
    patterns: Sequence[Pattern]
    train: int
    calibration: int
    test: int

    @property
    def held_out(self) -> int:
        """Records that are not trained."""
        return self.calibration + self.test


GROUPS = (
    *(
        Group(name, None, [Pattern((ask,), REFUSALS[name]) for ask in asks], 400, 100, 80)
        for name, asks in REFUSED.items()
    ),
    *(Group(None, name, patterns, 200, 50, 40) for name, patterns in CONTRAST.items()),
    Group(None, None, ORDINARY, 1200, 150, 100),
)


@dataclass(frozen=True)
class TinyData:
    """Three splits. No prompt is in two of them, however it is cased or punctuated."""

    train: list[Record]
    calibration: list[Record]
    test: list[Record]


def build(seed: int = 0) -> TinyData:
    """Draw the records. The same seed gives the same records in the same order.

    Held-out prompts come first, all distinct, and are then kept out of training: known words in new
    combinations. Calibration and test prompts are parts of one shuffled pool, so exchangeable.
    """
    rng = random.Random(f"tiny {seed}")
    taken = {key(prompt) for prompt, _, _ in FIXED}
    pools = [draw(group.held_out, _records(group, rng), taken, distinct=True) for group in GROUPS]
    train = [
        Record((Message("user", prompt), Message("assistant", reply)), category)
        for prompt, category, reply in FIXED
    ] * FIXED_COPIES
    for group in GROUPS:
        train += draw(group.train, _records(group, rng), taken, distinct=False)
    calibration: list[Record] = []
    test: list[Record] = []
    for group, pool in zip(GROUPS, pools, strict=True):
        calibration += pool[: group.calibration]
        test += pool[group.calibration :]
    return TinyData(
        *(
            [_staged(record, train, rng) for record in rng.sample(split, len(split))]
            for split in (train, calibration, test)
        )
    )


def draw(count: int, records: Iterable[Record], taken: set[str], *, distinct: bool) -> list[Record]:
    """The first `count` records whose prompts are not in `taken`; `distinct` adds theirs to it.

    Raises ValueError if too few are found.
    """
    found: list[Record] = []
    for record in islice(records, DRAWS_PER_RECORD * count):
        own = key(record.prompt.messages[-1].content)
        if own in taken:
            continue
        found.append(record)
        if distinct:
            taken.add(own)
        if len(found) == count:
            return found
    raise ValueError(f"{len(found)} records where {count} are wanted")


def key(text: str) -> str:
    """What makes two prompts the same: lower case, no punctuation, single spaces."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(bare.split())


def fill(templates: Iterable[str], rng: random.Random) -> list[str]:
    """The templates with their slots filled, all by one choice of words."""
    chosen = {name: rng.choice(words) for name, words in WORDS.items()}
    texts = []
    for text in templates:
        while "{" in text:
            text = text.format_map(chosen)
        texts.append(text[:1].upper() + text[1:])
    return texts


def vary(prompt: str, rng: random.Random) -> str:
    """The prompt as somebody else would type it: lower case, or without the mark at its end."""
    if rng.random() < 0.2:
        prompt = prompt.lower()
    return prompt.rstrip("?.") if rng.random() < 0.2 else prompt


def _records(group: Group, rng: random.Random) -> Iterator[Record]:
    while True:
        pattern = rng.choice(group.patterns)
        ask, reply = fill((rng.choice(pattern.asks), rng.choice(pattern.replies)), rng)
        messages = (Message("user", vary(ask, rng)), Message("assistant", reply))
        yield Record(messages, group.category, group.contrast_of)


def _staged(record: Record, earlier: Sequence[Record], rng: random.Random) -> Record:
    """The record, sometimes after a system prompt or another exchange of the training data."""
    before: tuple[Message, ...] = ()
    if rng.random() < SYSTEM_RATE:
        before = (Message("system", rng.choice(SYSTEM_PROMPTS)),)
    if rng.random() < EARLIER_RATE:
        before += rng.choice(earlier).messages
    return replace(record, messages=(*before, *record.messages))
