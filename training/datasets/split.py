"""A fixed division of prompts into train, calibration and test."""

import hashlib
import json
import unicodedata
from collections.abc import Mapping

from training.records import Record

SPLITS = ("train", "calibration", "test")
SHARES: Mapping[str, float] = {"train": 0.6, "calibration": 0.2, "test": 0.2}
"""Of the prompts, by split, in the order of SPLITS."""


def prompt_key(record: Record) -> str:
    """The record's prompt without case, punctuation and spacing: equal for near-equal prompts.

    A prompt is the tools and all turns before the answer, so the same question in other company is
    another one.
    """
    prompt = record.prompt
    turns = [f"{message.role} {folded(message.content)}" for message in prompt.messages]
    return "\n".join([*map(json.dumps, prompt.tools), *turns])


def folded(text: str) -> str:
    """The letters and digits of `text`, in lower case, words parted by one space."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(letter if letter.isalnum() else " " for letter in plain).split()
    # A prompt of signs alone would otherwise equal every other of its kind.
    return " ".join(words) or text.strip()


def split_of(record: Record, shares: Mapping[str, float] = SHARES) -> str:
    """The split that the record belongs to, by a hash of `prompt_key`.

    It depends on nothing else: not on order, on other records or on the machine. Near-equal
    prompts fall into the same split, so none of them leaks from one into another.
    """
    digest = hashlib.sha256(prompt_key(record).encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64 * sum(shares.values())
    for name, share in shares.items():
        if place < share:
            return name
        place -= share
    return [*shares][-1]
