import re
from collections import Counter
from itertools import repeat
from pathlib import Path

import pytest

from tests.tiny.__main__ import main
from tests.tiny.data import FIXED_COPIES, GROUPS, TinyData, build, draw, key
from tests.tiny.patterns import FIXED
from tests.tiny.triples import TEST, TRAIN, Triples, build_triples
from training.categories import DESCRIPTIONS
from training.recipes import find, override
from training.records import Message, Record


@pytest.fixture(scope="module")
def data() -> TinyData:
    return build()


@pytest.fixture(scope="module")
def triples() -> Triples:
    return build_triples(0)


def keys(records: list[Record]) -> list[str]:
    return [key(record.prompt.messages[-1].content) for record in records]


@pytest.mark.parametrize("split", ["train", "calibration", "test"])
def test_splits_have_the_sizes_of_their_groups(data: TinyData, split: str) -> None:
    found = Counter((record.category, record.contrast_of) for record in getattr(data, split))
    wanted = Counter({(own.category, own.contrast_of): getattr(own, split) for own in GROUPS})
    if split == "train":
        wanted.update((category, None) for _, category, _ in FIXED for _ in range(FIXED_COPIES))
    assert found == wanted


def test_no_held_out_prompt_is_trained_or_repeated(data: TinyData, triples: Triples) -> None:
    for train, held in [
        (data.train, [*data.calibration, *data.test]),
        (triples.train, triples.test),
    ]:
        assert not set(keys(train)) & set(keys(held))
        assert len(set(keys(held))) == len(held)


def test_records_meet_the_contract_and_no_slot_is_left(data: TinyData, triples: Triples) -> None:
    splits = (data.train, data.calibration, data.test, triples.train, triples.test)
    for record in (record for split in splits for record in split):
        assert record.faults("training", list(DESCRIPTIONS)) == []
        texts = [turn.content for turn in record.messages] + [record.harmful or ""]
        assert not re.search("[{}]", "".join(texts))


def test_a_seed_gives_the_same_records_and_another_others(data: TinyData, triples: Triples) -> None:
    assert build() == data
    assert build(1).test != data.test
    assert build_triples(0) == triples
    assert build_triples(1) != triples


def test_held_out_prompts_come_in_conversations_and_after_system_prompts(data: TinyData) -> None:
    assert sum(record.messages[0].role == "system" for record in data.test) > 20
    assert sum(len(record.messages) > 3 for record in data.test) > 20


def test_a_group_that_yields_too_few_prompts_is_an_error() -> None:
    record = Record((Message("user", "a"), Message("assistant", "b")), None)
    with pytest.raises(ValueError, match="1 records where 2 are wanted"):
        draw(2, repeat(record), set(), distinct=True)


def test_triples_have_as_many_contrast_prompts_answered_in_the_same_words(
    triples: Triples,
) -> None:
    for records, count in [(triples.train, TRAIN), (triples.test, TEST)]:
        assert sum(record.harmful is not None for record in records) == count
        assert sum(record.contrast_of is not None for record in records) == count
        assert len(records) == 2 * count
    harmful, harmless = (
        # The first two sentences name the deed.
        {part for text in texts for part in re.split(r"(?<=\.) ", text)[2:]}
        for texts in (
            [record.harmful for record in triples.train if record.harmful],
            [r.messages[-1].content for r in triples.train if r.contrast_of],
        )
    )
    assert harmful == harmless
    refused = [r.messages[-1].content for r in triples.train if r.harmful]
    assert all(text.startswith("Sorry") for text in refused)


def test_taken_prompts_are_no_triples(triples: Triples) -> None:
    taken = set(keys(triples.train[:200]))
    other = build_triples(0, taken)
    assert not set(keys([*other.train, *other.test])) & taken


def test_the_recipe_reads_what_is_written(data: TinyData, tmp_path: Path) -> None:
    main(tmp_path)
    settings = [
        f"data.{split}={tmp_path / split}.jsonl" for split in ("train", "calibration", "test")
    ]
    settings.append(f"data.templates={tmp_path / 'refusal_templates.yaml'}")
    splits = override(find("tiny"), settings).data(0)
    assert list(splits.train) == data.train
    assert len(splits.calibration) == len(data.calibration)
    assert [record.prompt for record in splits.test] == [record.prompt for record in data.test]
    assert splits.templates is not None
    assert list(splits.templates.languages["en"]) == list(splits.manifest.names)
