import re
from dataclasses import replace
from pathlib import Path

import pytest

from steering.manifest import Manifest
from tests.training.test_demo_data import BANNED
from training.categories import DESCRIPTIONS
from training.config import ScratchConfig, Splits
from training.datasets.load import load_records
from training.demo.data import build
from training.demo.surface import key
from training.demo.triples import TEST, TRAIN, Triples, build_triples
from training.recipes import demo, find
from training.records import Record
from training.run import train

NAMES = list(DESCRIPTIONS)


@pytest.fixture(scope="module")
def triples() -> Triples:
    return build_triples(0)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return find("demo-derta").data(0)


def prompts(records: list[Record]) -> set[str]:
    return {key(record.prompt.messages[-1].content) for record in records}


def test_splits_have_their_sizes_and_as_many_look_alikes(triples: Triples) -> None:
    for records, count in [(triples.train, TRAIN), (triples.test, TEST)]:
        assert sum(record.harmful is not None for record in records) == count
        assert sum(record.contrast_of is not None for record in records) == count
        assert len(records) == 2 * count


def test_no_test_prompt_is_trained_or_repeated(triples: Triples) -> None:
    assert not prompts(triples.train) & prompts(triples.test)
    assert len(prompts(triples.test)) == 2 * TEST


def test_taken_prompts_do_not_occur(triples: Triples) -> None:
    taken = prompts(triples.train[:200])
    other = build_triples(0, taken)
    assert not (prompts(other.train) | prompts(other.test)) & taken


def test_a_seed_gives_the_same_records_and_another_others(triples: Triples) -> None:
    assert build_triples(0) == triples
    assert build_triples(1) != triples


def test_records_meet_the_contract_and_are_mild(triples: Triples) -> None:
    for record in [*triples.train, *triples.test]:
        assert record.faults("training", NAMES) == []
        texts = [message.content for message in record.messages] + [record.harmful or ""]
        assert not any(re.search(BANNED, text, re.IGNORECASE) or "{" in text for text in texts)


def test_safe_answers_begin_with_the_papers_word(triples: Triples) -> None:
    assert all(r.messages[-1].content.startswith("Sorry") for r in triples.train if r.harmful)


def test_harmful_answers_say_nothing_that_harmless_ones_do_not(triples: Triples) -> None:
    def sentences(texts: list[str]) -> set[str]:
        # The first names the deed.
        return {sentence for text in texts for sentence in re.split(r"(?<=\.) ", text)[2:]}

    harmful = sentences([record.harmful for record in triples.train if record.harmful])
    harmless = sentences([r.messages[-1].content for r in triples.train if not r.harmful])
    assert harmful == harmless


def test_the_recipe_is_the_demonstrations_with_triples(splits: Splits) -> None:
    recipe = find("demo-derta")
    assert (recipe.model, recipe.sft) == (demo().model, demo().sft)
    plain = build(0)
    assert splits.train[: len(plain.train)] == plain.train
    assert splits.calibration == plain.calibration
    held = prompts([*splits.calibration, *splits.test])
    assert not prompts(list(splits.train)) & held


def test_a_smoke_run_of_the_recipe(splits: Splits, tmp_path: Path) -> None:
    recipe = find("demo-derta")
    few = [*splits.train[:100], *splits.train[-100:]]
    small = recipe.model_copy(
        update={
            "data": lambda _: replace(splits, train=few),
            "model": ScratchConfig(
                vocab_size=500, hidden_size=32, intermediate_size=32, layers=1, heads=1
            ),
        }
    )
    train(small, tmp_path / "out")
    assert Manifest.load(tmp_path / "out").scopes == ("first_token", "every_token")
    test = load_records([str(tmp_path / "out" / "prompts" / "test.jsonl")], categories=NAMES)
    assert sum(record.harmful is not None for record in test) == TEST
