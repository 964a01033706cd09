import logging
from dataclasses import replace
from random import Random

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.manifest import Manifest
from steering.tokens import ControlTokens
from tests.training.conftest import exchange
from training.base_answers import OwnAnswer
from training.config import AdapterConfig, BaseConfig, MethodsConfig, Recipe, Splits
from training.encoding import NOT_REFUSED, Encoder
from training.examples import (
    Expansion,
    build_examples,
    encode_all,
    hold_out,
    learns_answer,
    splits_of,
    to_answer,
)
from training.records import Message, Record, RecordError
from training.rendering import prompt_ids
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
    encoding: TripleEncoder, recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    fine = exchange("a", "b")
    long_answer = exchange("a", "q" * 99, "safety")
    long_prompt = exchange("q" * 99, "b")
    with caplog.at_level(logging.WARNING):
        examples = encode_all([fine, long_prompt, long_answer], Expansion(encoding, recipe, {}))
    assert [len(example.input_ids) <= 64 for example in examples] == [True, True]
    assert encoding.encoder.control is not None
    assert encoding.encoder.control.refuse[0] in examples[1].labels
    assert "Of 3 records, 1 were skipped and 1 answers were cut" in caplog.text


def test_nothing_is_logged_where_all_fits(
    encoding: TripleEncoder, recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    # The base's own answer has no end, but room for one.
    own = {tuple(prompt_ids(encoding.encoder.tokenizer, ASKED.prompt)): OwnAnswer([70, 71], 5)}
    examples = encode_all([exchange("a", "b"), ASKED], Expansion(encoding, recipe, own))
    assert len(examples) == 2
    assert not caplog.records


ASKED = Record((Message("user", "buy bread"),), None, contrast_of="safety")


def with_methods(recipe: Recipe, **methods: object) -> Recipe:
    return recipe.model_copy(update={"methods": MethodsConfig.model_validate(methods)})


def test_a_record_without_an_answer_teaches_its_decision_or_the_bases_answer(
    encoding: TripleEncoder, recipe: Recipe
) -> None:
    encoder = encoding.encoder
    assert encoder.control is not None
    prompt = prompt_ids(encoder.tokenizer, ASKED.prompt)
    nothing = Expansion(encoding, recipe, {})
    refused = replace(ASKED, category="safety", contrast_of=None)
    for record, token in ((ASKED, encoder.control.respond), (refused, encoder.control.refuse[0])):
        (decision,) = nothing.examples(record)
        assert decision.input_ids == [*prompt, token]
        assert decision.labels == [*[-100] * len(prompt), token]
        assert decision.kept is None
    (own,) = Expansion(encoding, recipe, {tuple(prompt): OwnAnswer([70, 71], 5)}).examples(ASKED)
    assert own.input_ids == [*prompt, encoder.control.respond, 70, 71]
    assert own.labels[len(prompt) :] == own.input_ids[len(prompt) :]
    # The base wrote no control token, so its distribution there is not known.
    assert own.kept == [*[-1] * len(prompt), -1, 5, 6]


def test_without_a_respond_token_a_harmless_prompt_teaches_not_to_refuse(
    recipe: Recipe, untrained: Parts, manifest: Manifest
) -> None:
    _, tokenizer, control = untrained
    encoder = Encoder(tokenizer, ControlTokens(None, control.refuse), manifest.names, 64)
    triples = TripleEncoder(encoder, MethodsConfig(), Random(0))
    prompt = prompt_ids(tokenizer, ASKED.prompt)
    (alone,) = Expansion(triples, recipe, {}).examples(ASKED)
    assert alone.input_ids[:-1] == prompt
    assert alone.labels == [*[-100] * len(prompt), NOT_REFUSED]
    # The plain mean over labels has no term for that.
    assert Expansion(triples, with_methods(recipe, decision_weight=0), {}).examples(ASKED) == []
    (own,) = Expansion(triples, recipe, {tuple(prompt): OwnAnswer([70, 71], 0)}).examples(ASKED)
    assert own.input_ids == [*prompt, 70, 71]
    assert own.kept == [*[-1] * len(prompt), 0, 1]


def test_a_share_of_the_answers_is_learnt_and_triples_are_learnt_whole(
    encoding: TripleEncoder, recipe: Recipe, records: list[Record]
) -> None:
    some = with_methods(recipe, answer_share=0.3)
    learnt = [record for record in records if learns_answer(record, some)]
    assert 0.2 < len(learnt) / len(records) < 0.4
    assert learnt != [
        record for record in records if learns_answer(record, some.model_copy(update={"seed": 1}))
    ]
    assert all(learns_answer(record, recipe) for record in records)
    assert encoding.encoder.control is not None
    expand, control = Expansion(encoding, some, {}), set(encoding.encoder.control.ids)
    for record in records:
        (example,) = expand.examples(record)
        assert (example.input_ids[-1] in control) is (record not in learnt)
        triple = replace(record, category="safety", contrast_of=None, harmful="Take it.")
        assert len(expand.examples(triple)) == 2


def test_the_base_answers_harmless_prompts_alone(recipe: Recipe) -> None:
    refused = replace(ASKED, category="safety", contrast_of=None)
    triple = exchange("steal a car", "No.", "safety", harmful="Take it.")
    records = [refused, ASKED, exchange("a", "b"), ASKED]
    assert to_answer(records, recipe) == []
    based = recipe.model_copy(update={"model": BaseConfig(base="folder")})
    assert to_answer(records, based) == [ASKED, ASKED]
    assert to_answer(records, with_methods(based, answer_share=0)) == []
    frozen = based.model_copy(update={"adapter": AdapterConfig(method="frozen")})
    # As many as there are triples, beside which they go on.
    assert to_answer(records, frozen) == []
    assert to_answer([*records, triple], frozen) == [ASKED]
    with pytest.raises(RunError, match="triples need harmless records beside them"):
        to_answer([refused, triple], frozen)


def test_what_the_base_writes_needs_room(recipe: Recipe, manifest: Manifest) -> None:
    based = recipe.model_copy(update={"model": BaseConfig(base="folder")})
    for records, most in (([ASKED], 65), ([exchange("a", "b")], 64)):
        splits = Splits(records, [], [], manifest)
        chosen = changed(based, max_length=most).model_copy(update={"data": lambda _, s=splits: s})
        assert splits_of(chosen).train == records
    splits = Splits([ASKED], [], [], manifest)
    chosen = changed(based, max_length=64).model_copy(update={"data": lambda _: splits})
    with pytest.raises(RunError, match=r"base_answer_tokens=64 leaves no room for a prompt in sft"):
        splits_of(chosen)


def test_refusals_that_nothing_teaches_to_write_are_templates(
    recipe: Recipe, records: list[Record], manifest: Manifest
) -> None:
    def found(train: list[Record], **methods: object) -> Splits:
        data = Splits(train, [], [], manifest)
        changed = recipe.model_copy(update={"data": lambda _: data})
        return splits_of(with_methods(changed, **methods))

    assert found(records).manifest.refusal_texts == manifest.refusal_texts
    assert found(records).templates is None
    prompts = [replace(record, messages=record.prompt.messages) for record in records]
    for made in (found(prompts), found(records, answer_share=0)):
        assert made.manifest.refusal_texts == ("template",)
        assert made.templates is not None
        assert made.templates.languages["en"].keys() == {"safety", "temporal"}
    word = {"tokens": "none", "transition": "word"}
    with pytest.raises(RecordError, match="training record 0: ends in no answer"):
        found(prompts, **word)
    assert found(records, **word).manifest.refusal_texts == manifest.refusal_texts


def test_settings_that_do_not_go_together_train_nothing(recipe: Recipe) -> None:
    methods = {"answer_share": 0.5, "respond_token": False, "decision_weight": 0}
    with pytest.raises(RunError, match="answer_share below 1 needs"):
        splits_of(with_methods(recipe, **methods))


def test_held_out_prompts_without_answers_are_measured_by_their_decisions(
    recipe: Recipe, records: list[Record], manifest: Manifest, untrained: Parts
) -> None:
    prompts = [replace(record, messages=record.prompt.messages) for record in records]
    splits = Splits(prompts, [], [], manifest)
    held = build_examples(changed(recipe, eval_share=0.3), splits, untrained[1]).held_out
    assert held is not None
    assert set(held.by_kind) == {"decision"}
    assert len(held.decisions) == len(held.by_kind["decision"])


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
