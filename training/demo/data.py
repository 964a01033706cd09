"""The demonstration's data, made from a seed: what is trained, calibrated and tested on."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from steering.refusal_templates import RefusalTemplates
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
from training.demo.first_tries import first_tries
from training.demo.grammar import Exchange, Rule, Wording
from training.demo.surface import key, vary
from training.records import Record

WORDING = {
    "safety": safety,
    "humanizing": humanizing,
    "incomplete": incomplete,
    "indeterminate": indeterminate,
    "unsupported": unsupported,
    "temporal": temporal,
}

TEMPLATES = RefusalTemplates.of_texts(
    "en", {name: wording.REFUSALS[0] for name, wording in WORDING.items()}
)
"""What the demonstration's refusals may say instead of the model's own words: one that it knows."""


@dataclass(frozen=True)
class Group:
    """Records that share a label, and how many of them each split has."""

    category: str | None
    contrast_of: str | None
    rules: tuple[Rule, ...]
    train: int
    calibration: int
    test: int


REFUSED = {"incomplete": 3000}  # what is missing shows in few words: it takes more prompts
GROUPS = (
    *(
        Group(name, None, wording.REFUSED, REFUSED.get(name, 2200), 100, 80)
        for name, wording in WORDING.items()
    ),
    *(Group(None, name, wording.CONTRAST, 950, 50, 40) for name, wording in WORDING.items()),
    Group(None, None, ordinary.RULES, 9500, 150, 100),
)
FIRST_TRY_COPIES = 12
FIRST_ANSWER_COPIES = 48  # a decision is learnt from its neighbours, an answer by heart
DRAWS_PER_RECORD = 50  # a group that yields too few distinct prompts is a fault of its wording


@dataclass(frozen=True)
class DemoData:
    """Three splits. No prompt is in two of them, however it is cased or punctuated."""

    train: list[Record]
    calibration: list[Record]
    test: list[Record]


@dataclass(frozen=True)
class _Draw:
    """An exchange as it is written."""

    exchange: Exchange
    keys: frozenset[str]  # of the prompt as drawn and as written
    small_talk: bool


def build(seed: int = 0) -> DemoData:
    """Generate the data. The same seed gives the same records in the same order.

    Held-out prompts are drawn first, for all groups, and what they say is then kept out of
    training. Calibration and test prompts are parts of one shuffled pool, so they are exchangeable.
    """
    rng = random.Random(seed)
    salt = rng.getrandbits(32)
    wordings = [_Wordings(group.rules, rng, salt) for group in GROUPS]
    trained_keys = {key(pair.ask) for _, pair in first_tries()}
    held_keys: set[str] = set()
    pools = []
    for group, wording in zip(GROUPS, wordings, strict=True):
        pools.append(wording.held_out(group.calibration + group.test, trained_keys | held_keys))
        held_keys.update(*(draw.keys for draw in pools[-1]))
    trained = [
        wording.trained(group.train, held_keys)
        for group, wording in zip(GROUPS, wordings, strict=True)
    ]
    earlier = [draw for draws in trained for draw in draws]
    train = _first_tries(held_keys, rng)
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

    def __init__(self, rules: Sequence[Rule], rng: random.Random, salt: int) -> None:
        self._rng = rng
        self._wordings = [Wording(rule, rng, salt) for rule in rules]
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
        written = vary(drawn, self._rng, openers=not rule.small_talk)
        return _Draw(
            replace(exchange, turns=(*exchange.turns[:-1], written)),
            frozenset((key(drawn), key(written))),
            rule.small_talk,
        )


def _first_tries(held_keys: set[str], rng: random.Random) -> list[Record]:
    """Each first try some times over: as it stands, and as others would type it."""
    records = []
    for category, pair in first_tries():
        for copy in range(FIRST_ANSWER_COPIES if category is None else FIRST_TRY_COPIES):
            written = vary(pair.ask, rng, openers=False) if copy % 2 else pair.ask
            if key(written) not in held_keys:
                exchange = Exchange((written,), pair.reply)
                records.append(Record(stage(exchange, (), rng), category))
    return records


def _records(
    group: Group, draws: Iterable[_Draw], earlier: Iterable[_Draw], rng: random.Random
) -> list[Record]:
    """The draws as records, some of them behind earlier turns.

    What is incomplete stands behind small talk only: other turns might complete it.
    """
    past = [draw.exchange for draw in earlier if draw.small_talk or group.category != "incomplete"]
    return [
        Record(stage(draw.exchange, past, rng), group.category, group.contrast_of) for draw in draws
    ]


def _shuffled(split: str, records: list[Record], rng: random.Random) -> list[Record]:
    """The records in random order, each with an id that says its split and place."""
    shuffled = rng.sample(records, len(records))
    return [replace(record, id=f"{split}-{at:05}") for at, record in enumerate(shuffled)]
