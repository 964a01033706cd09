"""The setting of a prompt: alone, behind a system prompt, or later in a conversation."""

import random
from collections.abc import Sequence

from training.demo.grammar import Exchange
from training.records import Message

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "Answer briefly.",
    "Answer in one or two sentences.",
    "You are Demur, a small demonstration model.",
    "You help people with small questions.",
    "Be polite and honest.",
)
SYSTEM_RATE = 0.1
EARLIER_RATE = 0.06


def stage(
    exchange: Exchange, earlier: Sequence[Exchange], rng: random.Random
) -> tuple[Message, ...]:
    """The messages of a record that ends in ``exchange``.

    earlier: what one or two turns before it may be drawn from. An exchange that brings turns of
    its own gets no others.
    """
    messages = []
    if rng.random() < SYSTEM_RATE:
        messages.append(Message("system", rng.choice(SYSTEM_PROMPTS)))
    if len(exchange.turns) == 1 and earlier and rng.random() < EARLIER_RATE:
        for past in rng.sample(earlier, rng.choice((1, 1, 2))):
            messages += [Message("user", past.prompt), Message("assistant", past.reply)]
    for place, turn in enumerate((*exchange.turns, exchange.reply)):
        messages.append(Message("assistant" if place % 2 else "user", turn))
    return tuple(messages)
