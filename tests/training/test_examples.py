import logging
from dataclasses import replace
from random import Random

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.manifest import Manifest
from steering.tokens import ControlTokens
from tests.training.conftest import exchange
from training.config import MethodsConfig, Recipe, Splits
from training.encoding import Encoder
from training.examples import build_examples, encode_all, hold_out
from training.records import Message, Record
from training.triples import TripleEncoder
from training.work_folder import RunError

Parts = tuple[LlamaForCausalLM, PreTrainedTokenizerFast, ControlTokens]


@pytest.fixture
def splits(records: list[Record], manifest: Manifest) -> Splits:
    triples = [
        replace(record, harmful=f"Take it, number {place}.")
        for place, record in enumerate(records[::4])
    ]
    return Splits([*records, *triples], [], [], manifest)


@pytest.fixture
def encoding(untrained: Parts, manifest: Manifest) -> TripleEncoder:
    _, tokenizer, control = untrained
    encoder = Encoder(tokenizer, control, manifest.names, max_length=64)
    return TripleEncoder(encoder, MethodsConfig(), Random(0))


def changed(recipe: Recipe, **sft: object) -> Recipe:
    return recipe.model_copy(update={"sft": recipe.sft.model_copy(update=sft)})


def test_without_triples_and_held_out_prompts_it_is_what_the_encoder_makes(
    recipe: Recipe, records: list[Record], manifest: Manifest, untrained: Parts
) -> None:
    _, tokenizer, control = untrained
    encoder = Encoder(tokenizer, control, manifest.names, recipe.sft.max_length)
    splits = Splits(records, [], [], manifest)
    built = build_examples(changed(recipe, decision_copies=2), splits, tokenizer)
    assert built.train == [*map(encoder.encode, records), *encoder.decisions(records) * 2]
    assert built.held_out is None


def test_the_same_recipe_gives_the_same_examples_and_another_seed_others(
    recipe: Recipe, splits: Splits, untrained: Parts
) -> None:
    tokenizer = untrained[1]
    built = build_examples(recipe, splits, tokenizer).train
    assert build_examples(recipe, splits, tokenizer).train == built
    other = recipe.model_copy(update={"seed": 1})
    assert build_examples(other, splits, tokenizer).train != built
    # Of each triple two, of each other record one.
    assert len(built) == len(splits.train) + 70


def test_long_records_are_skipped_or_cut_and_counted(
    encoding: TripleEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    fine = exchange("a", "b")
    long_answer = exchange("a", "q" * 99, "safety")
    long_prompt = exchange("q" * 99, "b")
    with caplog.at_level(logging.WARNING):
        examples = encode_all([fine, long_prompt, long_answer], encoding)
    assert [len(example.input_ids) <= 64 for example in examples] == [True, True]
    assert encoding.encoder.control is not None
    assert encoding.encoder.control.refuse[0] in examples[1].labels
    assert "Of 3 records, 1 were skipped and 1 answers were cut" in caplog.text


def test_nothing_is_logged_where_all_fits(
    encoding: TripleEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    encode_all([exchange("a", "b")], encoding)
    assert not caplog.records


def test_held_out_prompts_are_nowhere_trained(records: list[Record]) -> None:
    train, held = hold_out(records * 2, 0.3, seed=0)
    assert len(train) + len(held) == 2 * len(records)
    assert 0.2 < len(held) / len(records) / 2 < 0.4
    asked, others = (
        {record.prompt.messages[-1].content for record in part} for part in (train, held)
    )
    assert not asked & others
    assert hold_out(records * 2, 0.3, seed=1)[1] != held
    assert hold_out(records, 0, seed=0) == (records, [])


def test_the_question_decides_whatever_stands_around_it() -> None:
    alone = exchange("Won't it rain?", "No.")
    system = Message("system", "Be brief.")
    same = [
        alone,
        replace(alone, messages=(system, *alone.messages)),
        exchange("wont  it rain ", "Yes."),
        exchange("Won\N{RIGHT SINGLE QUOTATION MARK}t it rain...", "Yes."),
        replace(alone, messages=(*exchange("Hello", "Hi.").messages, *alone.messages)),
    ]
    for seed in range(20):
        assert len(hold_out(same, 0.5, seed)[1]) in (0, len(same))


def test_held_out_examples_come_by_kind(recipe: Recipe, splits: Splits, untrained: Parts) -> None:
    held = build_examples(changed(recipe, eval_share=0.3), splits, untrained[1]).held_out
    assert held is not None
    assert set(held.by_kind) == {"refusal", "contrast", "answer", "prefix", "rto"}
    refuse, respond = untrained[2].refuse, untrained[2].respond
    assert all(set(example.labels) == {-100, refuse[0]} for example in held.by_kind["rto"])
    assert all(respond in example.labels for example in held.by_kind["contrast"])
    for examples in held.by_kind.values():
        lengths = [len(example.input_ids) for example in examples]
        assert lengths == sorted(lengths)


def lengthened(record: Record) -> Record:
    """The record with more before its question than fits."""
    return replace(record, messages=(Message("system", "very " * 80), *record.messages))


def test_a_kind_of_which_nothing_fits_is_none(
    recipe: Recipe, splits: Splits, untrained: Parts
) -> None:
    train = [lengthened(record) if record.contrast_of else record for record in splits.train]
    built = build_examples(
        changed(recipe, eval_share=0.3), replace(splits, train=train), untrained[1]
    )
    assert built.held_out is not None
    assert set(built.held_out.by_kind) == {"refusal", "answer", "prefix", "rto"}


@pytest.mark.parametrize("share", [1e-9, 0.3])
def test_a_share_that_holds_nothing_out_is_an_error(
    share: float, recipe: Recipe, splits: Splits, untrained: Parts
) -> None:
    held = hold_out(splits.train, share, recipe.seed)[1]
    train = [lengthened(record) if record in held else record for record in splits.train]
    with pytest.raises(RunError) as error:
        build_examples(
            changed(recipe, eval_share=share), replace(splits, train=train), untrained[1]
        )
    assert f"sft.eval_share={share} of 350 records holds out {len(held)}, of which none fits" in (
        str(error.value)
    )
    assert "sft.max_length=64" in str(error.value)


def test_decisions_name_the_token_that_is_right(
    recipe: Recipe, splits: Splits, untrained: Parts
) -> None:
    _, tokenizer, control = untrained
    held = build_examples(changed(recipe, eval_share=0.3), splits, tokenizer).held_out
    assert held is not None
    assert held.refuse_ids == control.refuse
    for decision in held.decisions:
        text = tokenizer.decode(decision.prompt)
        category = 0 if "steal" in text else 1 if "will" in text else None
        assert decision.category == category
        assert decision.token == (control.respond if category is None else control.refuse[category])


def test_a_baseline_has_no_control_tokens(recipe: Recipe, splits: Splits, untrained: Parts) -> None:
    _, tokenizer, control = untrained
    methods = MethodsConfig(tokens="none", triples="safety", transition="word")
    baseline = changed(recipe, eval_share=0.3, decision_copies=1).model_copy(
        update={"methods": methods}
    )
    built = build_examples(baseline, splits, tokenizer)
    assert built.held_out is not None
    assert built.held_out.decisions == []
    used = {token for example in built.train for token in example.input_ids}
    assert not used & set(control.ids)
