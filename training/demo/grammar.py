"""Templates and fillers, expanded from a seed; part of the wording is held out of training."""

import random
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

HELD_OUT_SHARE = 0.12
HELD_OUT_KINDS = {"ask": 1, "fillers": 1, "pair": 8}  # what is new in held-out prompts, by weight
FEWEST_TO_SPLIT = 7  # shorter lists are trained whole
FEWEST_TO_RECOMBINE = 40  # prompts a rule must have before known parts are held out in new pairs

Filler = str | tuple[str, ...]
T = TypeVar("T", bound=Filler)
QUESTION_ASKS = (
    "{question.ask}",
    "Answer this question: {question.ask}",
    "I have a question: {question.ask}",
    "In one sentence: {question.ask}",
    "My son asks: {question.ask}",
    "For school: {question.ask}",
    "Here is my question. {question.ask}",
    "Do you know this? {question.ask}",
)


class Pair(NamedTuple):
    """A thing to ask, and the reply that goes with it."""

    ask: str
    reply: str


@dataclass(frozen=True)
class Rule:
    """Prompts of one shape, and the replies that go with them.

    A template names slots in braces, ``{city}``, or a column of a row, ``{land.capital}``; fillers
    may name slots themselves. One choice of fillers serves ``before``, the ask and the reply.
    """

    asks: tuple[str, ...]  # the first is the commonest, and always trained
    replies: tuple[str, ...]
    slots: Mapping[str, Sequence[Filler]] = field(default_factory=dict)
    before: tuple[str, ...] = ()  # earlier turns: user, assistant, user, ...
    weight: float = 1.0
    whole: bool = False  # every filler is trained: facts that a reader will ask for
    small_talk: bool = False  # takes no opener, and gives later turns nothing to refer to

    def size(self) -> int:
        """The number of prompts that the rule can make."""
        return sum(self._ways(ask) for ask in self.asks)

    def _ways(self, template: str) -> int:
        ways = 1
        for name in slot_names(template):
            ways *= sum(self._ways(text) for text in (_as_text(f) for f in self.slots[name]))
        return ways


@dataclass(frozen=True)
class Exchange:
    """One expanded prompt and its reply; ``turns`` ends with the user's."""

    turns: tuple[str, ...]
    reply: str

    @property
    def prompt(self) -> str:
        """The user's last turn."""
        return self.turns[-1]


class Wording:
    """The draws of one rule. Held-out asks and fillers never reach ``trained``.

    ``salt`` chooses what is held out; rules with the same salt agree on it.
    """

    def __init__(self, rule: Rule, rng: random.Random, salt: int) -> None:
        self.rule = rule
        self._rng = rng
        asks, held_asks = _split(rule.asks, salt, always=rule.asks[0])
        self._asks = _Deck(asks, rng)
        self._held_asks = _Deck(held_asks, rng) if held_asks else None
        self._fillers: dict[str, _Deck[Filler]] = {}
        self._held_fillers: dict[str, _Deck[Filler]] = {}
        for name, fillers in rule.slots.items():
            kept, held = (fillers, []) if rule.whole else _split(fillers, salt)
            self._fillers[name] = _Deck(kept, rng)
            if held:
                self._held_fillers[name] = _Deck(held, rng)
        self._replies = _Deck(rule.replies, rng)
        self._recombines = rule.size() >= FEWEST_TO_RECOMBINE

    def trained(self) -> Exchange:
        """A prompt of the kept asks and fillers."""
        return self._expand(self._asks.draw(), self._fillers)

    def held_out(self) -> Exchange | None:
        """A prompt with a new ask, with new fillers, or of known parts in a new combination.

        The caller keeps prompts of the last kind out of training. None when this draw has nothing
        to hold out.
        """
        kind = self._rng.choices(tuple(HELD_OUT_KINDS), tuple(HELD_OUT_KINDS.values()))[0]
        if kind == "ask" and self._held_asks is not None:
            return self._expand(self._held_asks.draw(), self._fillers)
        ask = self._asks.draw()
        names = slot_names(ask)
        if kind == "fillers" and self._held_fillers and names:
            return self._expand(ask, {**self._fillers, **self._held_fillers})
        if kind == "pair" and self._recombines and names:
            return self._expand(ask, self._fillers)
        return None

    def _expand(self, ask: str, fillers: Mapping[str, "_Deck[Filler]"]) -> Exchange:
        chosen = {name: deck.draw() for name, deck in fillers.items()}
        turns = tuple(_fill(template, chosen) for template in (*self.rule.before, ask))
        return Exchange(turns, _fill(self._replies.draw(), chosen))


class _Deck(Generic[T]):
    """Draws from a shuffled list, and shuffles again at its end: every entry has its turn."""

    def __init__(self, entries: Sequence[T], rng: random.Random) -> None:
        self._entries = list(entries)
        self._rng = rng
        self._left: list[T] = []

    def draw(self) -> T:
        if not self._left:
            self._left = self._rng.sample(self._entries, len(self._entries))
        return self._left.pop()


def slot_names(template: str) -> list[str]:
    """The slots that a template names, without columns: ``{land.capital}`` gives ``land``."""
    found: Iterator[str] = (name for _, name, _, _ in string.Formatter().parse(template) if name)
    return sorted({name.partition(".")[0] for name in found})


def rows(pairs: Iterable[tuple[str, str]]) -> tuple[Pair, ...]:
    """Pairs written as plain tuples."""
    return tuple(Pair(*pair) for pair in pairs)


def _as_text(filler: Filler) -> str:
    """What of a filler can name slots in a prompt: the string, or a row's first column."""
    return filler if isinstance(filler, str) else filler[0]


def _fill(template: str, chosen: Mapping[str, Filler]) -> str:
    text = template
    while "{" in text:
        text = text.format_map(chosen)
    return text[:1].upper() + text[1:]


def _split(entries: Sequence[T], salt: int, always: T | None = None) -> tuple[list[T], list[T]]:
    """Kept and held-out entries, in their given order; short lists are kept whole.

    What is held out is so in every rule: else a wording kept by one rule only would betray its
    label. ``always`` is kept.
    """
    if len(entries) < FEWEST_TO_SPLIT:
        return list(entries), []
    held = [entry for entry in entries if entry != always and _is_held(entry, salt)]
    return [entry for entry in entries if entry not in held], held


def _is_held(entry: Filler, salt: int) -> bool:
    pattern = re.sub(r"\{[^}]*\}", "{}", _as_text(entry))
    return random.Random(f"{salt} {pattern}").random() < HELD_OUT_SHARE
