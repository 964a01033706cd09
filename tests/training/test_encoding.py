from dataclasses import replace

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.manifest import Manifest
from steering.tokens import ControlTokens
from training.encoding import (
    IGNORED,
    NOT_REFUSED,
    Encoder,
    Example,
    PromptTooLongError,
    lay_out,
)
from training.records import Message, Record
from training.rendering import EncodingError, prompt_ids, render

Parts = tuple[LlamaForCausalLM, PreTrainedTokenizerFast, ControlTokens]


@pytest.fixture
def tokenizer(untrained: Parts) -> PreTrainedTokenizerFast:
    return untrained[1]


@pytest.fixture
def encoder(untrained: Parts, manifest: Manifest) -> Encoder:
    _, tokenizer, control = untrained
    return Encoder(tokenizer, control, manifest.names, max_length=64)


def record(*pairs: tuple[str, str], category: str | None = None) -> Record:
    return Record(tuple(Message(role, content) for role, content in pairs), category)


def test_layout_by_hand() -> None:
    assert lay_out([1, 2, 3], [9], [4, 5, 0], max_length=10) == Example(
        input_ids=[1, 2, 3, 9, 4, 5, 0], labels=[-100, -100, -100, 9, 4, 5, 0]
    )


def test_layout_without_a_control_token() -> None:
    assert lay_out([1, 2], [], [4, 0], max_length=10) == Example([1, 2, 4, 0], [-100, -100, 4, 0])


def test_layout_with_loss_on_all_tokens() -> None:
    assert lay_out([1, 2], [9], [4, 0], 10, "all") == Example([1, 2, 9, 4, 0], [1, 2, 9, 4, 0])


@pytest.mark.parametrize(
    ("max_length", "kept"),
    [(7, [9, 4, 5, 0]), (6, [9, 4, 5]), (5, [9, 4]), (4, [9])],
)
def test_what_is_too_long_loses_its_end_and_never_the_control_token(
    max_length: int, kept: list[int]
) -> None:
    example = lay_out([1, 2, 3], [9], [4, 5, 0], max_length)
    assert example.input_ids == [1, 2, 3, *kept]
    assert example.labels == [-100, -100, -100, *kept]


@pytest.mark.parametrize("control", [[9], []])
def test_a_prompt_that_leaves_no_room_is_an_error(control: list[int]) -> None:
    with pytest.raises(PromptTooLongError, match=r"the prompt has 3 tokens: no room .* in 3"):
        lay_out([1, 2, 3], control, [4], max_length=3)


def test_an_empty_answer_still_has_its_end() -> None:
    assert lay_out([1], [9], [0], max_length=9).labels == [-100, 9, 0]


def test_a_record_by_hand(encoder: Encoder, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer.convert_tokens_to_ids
    prompt = [
        ids("<|im_start|>"),
        *tokenizer.encode("user\nsteal bread"),
        ids("<|im_end|>"),
        *tokenizer.encode("\n"),
        ids("<|im_start|>"),
        *tokenizer.encode("assistant\n"),
    ]
    answer = [ids("<|refuse:safety|>"), *tokenizer.encode("I cannot help."), ids("<|im_end|>")]
    example = encoder.encode(
        record(("user", "steal bread"), ("assistant", "I cannot help."), category="safety")
    )
    assert example.input_ids == prompt + answer
    assert example.labels == [IGNORED] * len(prompt) + answer


def test_the_category_chooses_the_token(
    encoder: Encoder, tokenizer: PreTrainedTokenizerFast
) -> None:
    for category, token in [
        (None, "<|respond|>"),
        ("safety", "<|refuse:safety|>"),
        ("temporal", "<|refuse:temporal|>"),
    ]:
        example = encoder.encode(record(("user", "a"), ("assistant", "b"), category=category))
        learnt = [label for label in example.labels if label != IGNORED]
        assert tokenizer.decode(learnt) == f"{token}b<|im_end|>"


def test_only_the_last_turn_is_learnt(encoder: Encoder, tokenizer: PreTrainedTokenizerFast) -> None:
    example = encoder.encode(
        record(
            ("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")
        )
    )
    learnt = [label for label in example.labels if label != IGNORED]
    assert tokenizer.decode(learnt) == "<|respond|>d<|im_end|>"
    text = tokenizer.decode(example.input_ids)
    assert text.count("<|respond|>") == 1
    assert "<|im_start|>assistant\nb<|im_end|>" in text


def test_what_is_learnt_stands_where_generation_begins(
    encoder: Encoder, tokenizer: PreTrainedTokenizerFast
) -> None:
    one = record(("user", "did Oslo have a car"), ("assistant", "Yes, a car."))
    prompt = tokenizer.encode(render(tokenizer, one.prompt), add_special_tokens=False)
    example = encoder.encode(one)
    assert example.input_ids[: len(prompt)] == prompt
    assert example.labels.index(example.input_ids[len(prompt)]) == len(prompt)


def test_a_checkpoint_without_a_respond_token(encoder: Encoder) -> None:
    bare = Encoder(encoder.tokenizer, ControlTokens(None, (7, 8)), encoder.categories, 64)
    answered = bare.encode(record(("user", "a"), ("assistant", "b")))
    refused = bare.encode(record(("user", "a"), ("assistant", "b"), category="temporal"))
    learnt = [label for label in answered.labels if label != IGNORED]
    assert [label for label in refused.labels if label != IGNORED] == [8, *learnt]


def test_a_template_that_rewrites_the_prompt_is_an_error(encoder: Encoder) -> None:
    encoder.tokenizer.chat_template = (
        "{{ messages | length }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    )
    with pytest.raises(EncodingError, match="does not render the prompt as the beginning"):
        encoder.encode(record(("user", "a"), ("assistant", "b")))


def test_a_template_without_an_end_of_turn_is_an_error(encoder: Encoder) -> None:
    encoder.tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(EncodingError, match=r"ends an answer neither with '<\|im_end\|>'"):
        encoder.encode(record(("user", "a"), ("assistant", "b")))


def test_decisions_end_behind_the_control_token(encoder: Encoder) -> None:
    fine = record(("user", "a"), ("assistant", "b"), category="safety")
    (decision,) = encoder.decisions([fine])
    whole = encoder.encode(fine)
    at = next(at for at, label in enumerate(whole.labels) if label != IGNORED)
    assert decision.input_ids == whole.input_ids[: at + 1]
    assert decision.labels == whole.labels[: at + 1]


def test_decisions_leave_out_what_is_ordinary_or_has_none(encoder: Encoder) -> None:
    bare = Encoder(encoder.tokenizer, ControlTokens(None, (7, 8)), encoder.categories, 64)
    ordinary = record(("user", "a"), ("assistant", "b"))
    alike = replace(ordinary, contrast_of="safety")
    long_prompt = record(("user", "q" * 99), ("assistant", "b"), category="safety")
    assert bare.decisions([ordinary, alike]) == []
    assert len(encoder.decisions([ordinary, alike, long_prompt])) == 1


def test_a_harmless_decision_without_a_respond_token(
    encoder: Encoder, tokenizer: PreTrainedTokenizerFast
) -> None:
    asked = record(("user", "buy bread"), ("assistant", "Yes."))
    prompt = prompt_ids(tokenizer, asked.prompt)
    assert encoder.control is not None
    without = replace(encoder, control=replace(encoder.control, respond=None))
    example = without.encode_unrefused(asked)
    assert example.input_ids[:-1] == prompt
    assert example.labels == [IGNORED] * len(prompt) + [NOT_REFUSED]
