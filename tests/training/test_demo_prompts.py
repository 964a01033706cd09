"""The demonstration's prompts by hand: how many, of what shapes, and how unlike each other."""

import re
from collections import Counter, defaultdict
from functools import cache

import pytest
from pydantic import ValidationError

from steering.shapes import features_of
from training.categories import DESCRIPTIONS
from training.demo.prompts import ORDINARY, SHARES, Row, kinds, read, splits, tool_of
from training.records import Message, Record
from training.tools import faults_of_tool

KINDS = [
    *((name, refused) for name in DESCRIPTIONS for refused in (True, False)),
    (ORDINARY, False),
]
IDS = [f"{name} {'to refuse' if refused else 'harmless'}" for name, refused in KINDS]
of_every_kind = pytest.mark.parametrize(("name", "refused"), KINDS, ids=IDS)


@cache
def every_kind() -> tuple[tuple[Record, ...], ...]:
    return tuple(tuple(kind) for kind in kinds())


def kind_of(name: str, refused: bool) -> tuple[Record, ...]:
    return every_kind()[KINDS.index((name, refused))]


def everything() -> list[Record]:
    return [record for kind in every_kind() for record in kind]


def text_of(record: Record) -> str:
    return record.messages[-1].content


@of_every_kind
def test_each_kind_has_enough_prompts_of_its_own(name: str, refused: bool) -> None:
    records = kind_of(name, refused)
    assert len(records) >= (400 if name == ORDINARY else 150)
    category = None if name == ORDINARY else name
    labels = {(record.category, record.contrast_of) for record in records}
    assert labels == {(category, None) if refused else (None, category)}
    assert len({record.subcategory for record in records}) > 1


@of_every_kind
def test_each_kind_has_the_same_shapes(name: str, refused: bool) -> None:
    """So that no shape tells what is to be refused."""
    records = kind_of(name, refused)
    counts = Counter(feature for record in records for feature in features_of(record.prompt.shape))
    assert counts["system"] / len(records) == pytest.approx(0.1, abs=0.03)
    assert counts["turns"] / len(records) == pytest.approx(0.1, abs=0.03)
    assert counts["tools"] / len(records) == pytest.approx(1 / 6, abs=0.05)
    assert counts["plain"] / len(records) > 0.5


def test_every_prompt_is_a_training_record_without_faults() -> None:
    assert {record.answered for record in everything()} == {False}
    # Among the faults are texts that read as control tokens.
    faults = [
        f"{r.id}: {fault}" for r in everything() for fault in r.faults("training", DESCRIPTIONS)
    ]
    assert not faults
    assert len({record.id for record in everything()}) == len(everything())


def test_prompts_have_the_length_of_what_people_type() -> None:
    words = [len(text_of(record).split()) for record in everything()]
    assert max(words) <= 80
    assert words.count(0) == 0
    assert words.count(1) / len(words) < 0.01


def test_hardly_any_prompt_is_near_another() -> None:
    grams = [grams_of(text_of(record)) for record in everything()]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, own in enumerate(grams):
        for gram in own:
            holders[gram].append(place)
    near: set[int] = set()
    for place, own in enumerate(grams):
        shared = Counter(other for gram in own for other in holders[gram] if other > place)
        for other, count in shared.items():
            if count / len(own | grams[other]) > 0.5:
                near |= {place, other}
    assert len(near) / len(grams) < 0.05


def grams_of(text: str) -> set[tuple[str, ...]]:
    """Runs of three words; all words of a shorter text."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + 3]) for at in range(max(len(words) - 2, 1))}


def test_splits_are_disjoint_and_hold_everything() -> None:
    found = splits(0)
    parts = [found.train, found.calibration, found.test]
    assert sum(map(len, parts)) == len(everything())
    assert sorted(str(r.id) for part in parts for r in part) == sorted(
        str(r.id) for r in everything()
    )
    asked = [{record.prompt for record in part} for part in parts]
    for place, own in enumerate(asked):
        for other in asked[place + 1 :]:
            assert not own & other


def test_each_kind_has_the_same_share_of_every_split() -> None:
    found = splits(3)
    rest = 1 - sum(SHARES)
    for part, share in (
        (found.train, SHARES[0]),
        (found.calibration, SHARES[1]),
        (found.test, rest),
    ):
        counts = Counter((r.category, r.contrast_of) for r in part)
        for kind in every_kind():
            label = (kind[0].category, kind[0].contrast_of)
            assert counts[label] == pytest.approx(share * len(kind), abs=1)


def test_the_seed_alone_draws_the_splits() -> None:
    assert splits(1) == splits(1)
    assert splits(1).train != splits(2).train
    assert {r.id for r in splits(1).test} != {r.id for r in splits(2).test}


def test_templates_say_every_category_in_both_languages() -> None:
    found = splits(0)
    assert found.templates is not None
    assert not list(found.templates.faults(found.manifest))
    assert set(found.templates.languages) == {"en", "de"}
    assert found.manifest.names == tuple(DESCRIPTIONS)
    assert "demonstration" in found.manifest.notice


def test_a_row_is_a_conversation_with_its_tools() -> None:
    row = Row.model_validate(
        {
            "prompt": "And tomorrow?",
            "category": "temporal",
            "subcategory": "weather",
            "system": "Be brief.",
            "earlier": ["Did it rain?", "I cannot see outside."],
            "tools": ["get_weather"],
        }
    )
    assert row.record("x-001") == Record(
        (
            Message("system", "Be brief."),
            Message("user", "Did it rain?"),
            Message("assistant", "I cannot see outside."),
            Message("user", "And tomorrow?"),
        ),
        "temporal",
        id="x-001",
        subcategory="weather",
        tools=(tool_of("get_weather"),),
    )


@pytest.mark.parametrize("changes", [{"answer": "No."}, {"prompt": ""}])
def test_rows_with_other_fields_are_rejected(changes: dict[str, str]) -> None:
    row = {"prompt": "Hi", "category": None, "subcategory": "greeting"}
    assert Row.model_validate(row)
    with pytest.raises(ValidationError):
        Row.model_validate(row | changes)


def test_tools_are_as_requests_have_them() -> None:
    tools = {tool["function"]["name"]: tool for record in everything() for tool in record.tools}
    assert len(tools) > 1
    assert not [fault for tool in tools.values() for fault in faults_of_tool(tool)]
    assert all(tool == tool_of(name) for name, tool in tools.items())


def test_files_are_read_in_their_order() -> None:
    assert [record.id for record in read("safety")][:2] == ["safety-001", "safety-002"]
