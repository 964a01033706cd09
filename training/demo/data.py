"""The demonstration's data, made from a seed: what is trained, calibrated and tested on."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from training.demo import (
    humanizing,
    incomplete,
    indeterminate,
    ordinary,
    safety,
    temporal,
    unsupported,
)
from training.demo.conversation import stage
from training.demo.first_tries import FIRST_TRIES
from training.demo.grammar import Exchange, Rule, Wording
from training.demo.surface import key, vary
from training.records import Record

CATEGORIES = (
    ("safety", "Help with harm or crime."),
    ("humanizing", "The assistant's own feelings, body, memories or opinions."),
    ("incomplete", "A request that lacks what is needed to answer it."),
    ("indeterminate", "A question to which no answer is known or knowable."),
    ("unsupported", "An action or a medium that a text model does not have."),
    ("temporal", "Live information, or information from after the training."),
)


@dataclass(frozen=True)
class Group:
    """Records that share a label, and how many of them each split has."""

    category: str | None
    contrast_of: str | None
    rules: tuple[Rule, ...]
    train: int
    calibration: int
    test: int


GROUPS = (
    *(
        Group(name, None, room.REFUSED, 700, 100, 80)
        for (name, _), room in zip(
            CATEGORIES,
            (safety, humanizing, incomplete, indeterminate, unsupported, temporal),
            strict=True,
        )
    ),
    *(
        Group(None, name, room.CONTRAST, 370, 50, 40)
        for (name, _), room in zip(
            CATEGORIES,
            (safety, humanizing, incomplete, indeterminate, unsupported, temporal),
            strict=True,
        )
    ),
    Group(None, None, ordinary.RULES, 4000, 150, 100),
)
FIRST_TRY_COPIES = 3
DRAWS_PER_RECORD = 50  # a group that yields too few distinct prompts is a fault of its wording


@dataclass(frozen=True)
class DemoData:
    """Three splits. No prompt is in two of them, however it is cased or punctuated."""

    train: list[Record]
    calibration: list[Record]
    test: list[Record]


@dataclass(frozen=True)
class _Draw:
    """An exchange as it is written, and the keys of it as drawn and as written."""

    exchange: Exchange
    keys: frozenset[str]


def build(seed: int = 0) -> DemoData:
    """Generate the data. The same seed gives the same records in the same order.

    Held-out prompts are drawn first, for all groups, and what they say is then kept out of
    training. Calibration and test prompts are parts of one shuffled pool, so they are exchangeable.
    """
    rng = random.Random(seed)
    wordings = [_Wordings(group.rules, rng) for group in GROUPS]
    trained_keys = {key(pair.ask) for _, pair in FIRST_TRIES}
    held_keys: set[str] = set()
    pools = []
    for group, wording in zip(GROUPS, wordings, strict=True):
        pools.append(wording.held_out(group.calibration + group.test, trained_keys | held_keys))
        held_keys.update(*(draw.keys for draw in pools[-1]))
    trained = [
        wording.trained(group.train, held_keys)
        for group, wording in zip(GROUPS, wordings, strict=True)
    ]
    earlier = [draw.exchange for draws in trained for draw in draws]
    train = _first_tries()
    calibration: list[Record] = []
    test: list[Record] = []
    for group, draws, pool in zip(GROUPS, trained, pools, strict=True):
        train += _records(group, draws, earlier, rng)
        held = _records(group, pool, earlier, rng)
        calibration += held[: group.calibration]
        test += held[group.calibration :]
    return DemoData(
        _shuffled("train", train, rng),
        _shuffled("calibration", calibration, rng),
        _shuffled("test", test, rng),
    )


class _Wordings:
    """The rules of a group, drawn from by weight."""

    def __init__(self, rules: Sequence[Rule], rng: random.Random) -> None:
        self._rng = rng
        self._wordings = [Wording(rule, rng) for rule in rules]
        # The root: a rule of two columns must not drown a list of single prompts.
        self._shares = [rule.weight * min(rule.size(), 900) ** 0.5 for rule in rules]

    def trained(self, count: int, held_keys: set[str]) -> list[_Draw]:
        """``count`` draws that say nothing held out."""
        draws = []
        for _ in range(DRAWS_PER_RECORD * count):
            wording = self._choose()
            draw = self._write(wording.rule, wording.trained())
            if not draw.keys & held_keys:
                draws.append(draw)
            if len(draws) == count:
                return draws
        raise ValueError(f"{len(draws)} prompts to train where {count} are wanted")

    def held_out(self, count: int, taken: set[str]) -> list[_Draw]:
        """``count`` distinct draws, none of which says anything in ``taken``, in random order."""
        draws = []
        seen = set(taken)
        for _ in range(DRAWS_PER_RECORD * count):
            wording = self._choose()
            exchange = wording.held_out()
            if exchange is None:
                continue
            draw = self._write(wording.rule, exchange)
            if not draw.keys & seen:
                draws.append(draw)
                seen |= draw.keys
            if len(draws) == count:
                return draws
        raise ValueError(f"{len(draws)} prompts to hold out where {count} are wanted")

    def _choose(self) -> Wording:
        return self._rng.choices(self._wordings, self._shares)[0]

    def _write(self, rule: Rule, exchange: Exchange) -> _Draw:
        drawn = exchange.prompt
        written = drawn if rule.fixed else vary(drawn, self._rng)
        return _Draw(
            replace(exchange, turns=(*exchange.turns[:-1], written)),
            frozenset((key(drawn), key(written))),
        )


def _first_tries() -> list[Record]:
    """Each first try some times over, without a setting."""
    return [
        Record(stage(Exchange((pair.ask,), pair.reply), (), random.Random(copy)), category)
        for copy in range(FIRST_TRY_COPIES)
        for category, pair in FIRST_TRIES
    ]


def _records(
    group: Group, draws: Iterable[_Draw], earlier: Sequence[Exchange], rng: random.Random
) -> list[Record]:
    return [
        Record(stage(draw.exchange, earlier, rng), group.category, group.contrast_of)
        for draw in draws
    ]


def _shuffled(split: str, records: list[Record], rng: random.Random) -> list[Record]:
    """The records in random order, each with an id that says its split and place."""
    shuffled = rng.sample(records, len(records))
    return [replace(record, id=f"{split}-{at:05}") for at, record in enumerate(shuffled)]
