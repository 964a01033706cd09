import random

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.tokens import ControlTokens
from tests.training.test_rendering import WRITES_THINKING
from training.config import MethodsConfig
from training.encoding import IGNORED, Encoder, Example, PromptTooLongError
from training.records import Message, Record
from training.rendering import EncodingError
from training.triples import TripleEncoder

Parts = tuple[LlamaForCausalLM, PreTrainedTokenizerFast, ControlTokens]

TRIPLE = Record(
    (Message("user", "steal bread"), Message("assistant", "No, never.")),
    "safety",
    harmful="Take a bread, yes, take it.",
)
HEAD = "<|im_start|>user\nsteal bread<|im_end|>\n<|im_start|>assistant\n"
REFUSED = "<|refuse:safety|>No, never.<|im_end|>"


def triples(untrained: Parts, control: bool = True, **methods: object) -> TripleEncoder:
    _, tokenizer, tokens = untrained
    encoder = Encoder(tokenizer, tokens if control else None, ("safety", "temporal"), 128)
    return TripleEncoder(encoder, MethodsConfig.model_validate(methods), random.Random(0))


def shown(tokenizer: PreTrainedTokenizerFast, example: Example) -> tuple[str, list[str]]:
    """The text before the first label, and the labels from there on; dots for ignored ones."""
    first = next(at for at, label in enumerate(example.labels) if label != IGNORED)
    labels = [
        "." if label == IGNORED else str(tokenizer.decode([label]))
        for label in example.labels[first:]
    ]
    return str(tokenizer.decode(example.input_ids[:first])), labels


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("safety", ["safe"]),
        ("prefix", ["prefix"]),
        ("rto", ["safe", "rto"]),
        ("both", ["prefix", "rto"]),
    ],
)
def test_each_method_makes_its_examples(untrained: Parts, kind: str, made: list[str]) -> None:
    encoder = triples(untrained, triples=kind)
    assert list(encoder.makers) == made
    assert len(encoder.expand(TRIPLE)) == len(made)


def test_a_plain_record_is_one_example(untrained: Parts) -> None:
    encoder = triples(untrained)
    plain = Record(TRIPLE.messages, None)
    assert encoder.expand(plain) == [encoder.encoder.encode(plain)]


def test_a_prefix_stands_behind_the_respond_token_and_before_the_refuse_token(
    untrained: Parts,
) -> None:
    tokenizer = untrained[1]
    encoder = triples(untrained, no_prefix_share=0, prefix_min=3, prefix_max=3)
    before, labels = shown(tokenizer, encoder.prefix(TRIPLE))
    prefix = tokenizer.decode(tokenizer.encode(str(TRIPLE.harmful))[:3])
    assert before == f"{HEAD}<|respond|>{prefix}"
    assert "".join(labels) == REFUSED


def test_without_a_prefix_it_is_the_safe_answers_example(untrained: Parts) -> None:
    encoder = triples(untrained, no_prefix_share=1)
    assert encoder.prefix(TRIPLE) == encoder.encoder.encode(TRIPLE)
    assert shown(untrained[1], encoder.prefix(TRIPLE))[0] == HEAD


def test_prefixes_never_hold_the_end_of_the_turn(untrained: Parts) -> None:
    encoder = triples(untrained, no_prefix_share=0)
    end = untrained[1].eos_token_id
    text = len(untrained[1].encode(str(TRIPLE.harmful)))
    lengths = set()
    for _ in range(300):
        example = encoder.prefix(TRIPLE)
        ignored = example.labels.index(encoder.encoder.parts(TRIPLE).control[0])
        # One in the prompt, behind the user's turn.
        assert example.input_ids[:ignored].count(end) == 1
        lengths.add(ignored - len(encoder.encoder.parts(TRIPLE).prompt) - 1)
    assert lengths == set(range(1, text + 1))


def test_rto_refuses_at_the_decision_and_at_every_position_of_the_harmful_answer(
    untrained: Parts,
) -> None:
    tokenizer = untrained[1]
    example = triples(untrained).rto(TRIPLE)
    before, labels = shown(tokenizer, example)
    count = len(tokenizer.encode(str(TRIPLE.harmful)))
    assert before == HEAD
    # The decision, each token of the answer, and the end of its turn.
    assert labels == ["<|refuse:safety|>"] * (1 + count + 1)
    assert tokenizer.decode(example.input_ids) == (f"{HEAD}<|respond|>{TRIPLE.harmful}<|im_end|>")


def test_some_positions_besides_the_decision(untrained: Parts) -> None:
    _, labels = shown(untrained[1], triples(untrained, rto_positions=4).rto(TRIPLE))
    assert labels[0] == "<|refuse:safety|>"
    assert labels[1:].count("<|refuse:safety|>") == 4


def test_positions_that_are_cut_off_are_not_drawn(untrained: Parts) -> None:
    whole = triples(untrained)
    short = len(whole.encoder.parts(TRIPLE).prompt) + 3
    encoder = Encoder(untrained[1], untrained[2], ("safety", "temporal"), short)
    for seed in range(20):
        rng = random.Random(seed)
        cut = TripleEncoder(encoder, MethodsConfig(rto_positions=2), rng)
        assert cut.rto(TRIPLE).labels[-3:] == [untrained[2].refuse[0]] * 3


def test_a_prompt_that_leaves_no_room_is_too_long_whatever_is_drawn(untrained: Parts) -> None:
    words = {"tokens": "none", "transition": "word", "transition_word": "will"}
    prompt = triples(untrained).encoder.parts(TRIPLE).prompt
    encoder = Encoder(untrained[1], None, ("safety", "temporal"), len(prompt))
    methods = MethodsConfig.model_validate({**words, "rto_positions": 3})
    with pytest.raises(PromptTooLongError):
        TripleEncoder(encoder, methods, random.Random(0)).rto(TRIPLE)


def test_the_paper_s_own_form_has_no_control_tokens(untrained: Parts) -> None:
    tokenizer = untrained[1]
    encoder = triples(
        untrained,
        control=False,
        tokens="none",
        transition="word",
        transition_word="will",
        no_prefix_share=0,
        prefix_min=2,
        prefix_max=2,
    )
    harmful = tokenizer.encode(str(TRIPLE.harmful))
    assert shown(tokenizer, encoder.rto(TRIPLE)) == (HEAD, ["will"] * (len(harmful) + 1))
    before, labels = shown(tokenizer, encoder.prefix(TRIPLE))
    assert before == f"{HEAD}{tokenizer.decode(harmful[:2])}"
    assert "".join(labels) == "No, never.<|im_end|>"


def test_a_word_can_turn_where_a_token_decides(untrained: Parts) -> None:
    encoder = triples(
        untrained, transition="word", transition_word="will", no_prefix_share=0, prefix_max=1
    )
    _, labels = shown(untrained[1], encoder.rto(TRIPLE))
    assert labels[0] == "<|refuse:safety|>"
    assert set(labels[1:]) == {"will"}
    assert "".join(shown(untrained[1], encoder.prefix(TRIPLE))[1]) == "No, never.<|im_end|>"


def test_a_word_of_several_tokens_is_an_error(untrained: Parts) -> None:
    encoder = triples(untrained, transition="word", transition_word="Sorry")
    with pytest.raises(EncodingError, match=r"transition_word 'Sorry' is \d+ tokens .* not 1"):
        encoder.rto(TRIPLE)


def test_without_a_respond_token_the_harmful_answer_follows_the_prompt(untrained: Parts) -> None:
    _, tokenizer, control = untrained
    encoder = Encoder(tokenizer, ControlTokens(None, control.refuse), ("safety", "temporal"), 128)
    made = TripleEncoder(encoder, MethodsConfig(no_prefix_share=0, prefix_max=1), random.Random(0))
    rto, prefix = made.rto(TRIPLE), made.prefix(TRIPLE)
    assert tokenizer.decode(rto.input_ids) == f"{HEAD}{TRIPLE.harmful}<|im_end|>"
    first = tokenizer.decode(tokenizer.encode(str(TRIPLE.harmful))[:1])
    assert tokenizer.decode(prefix.input_ids) == f"{HEAD}{first}{REFUSED}"


def test_a_thinking_part_stands_before_the_prefix_and_not_again(untrained: Parts) -> None:
    tokenizer = untrained[1]
    tokenizer.chat_template = WRITES_THINKING
    encoder = triples(untrained, no_prefix_share=0, prefix_min=99)
    example = encoder.prefix(TRIPLE)
    thinking = "<think>\n\n</think>\n\n"
    assert tokenizer.decode(example.input_ids) == (
        f"{HEAD}<|respond|>{thinking}{TRIPLE.harmful}{REFUSED}"
    )
    _, labels = shown(tokenizer, encoder.rto(TRIPLE))
    lead = len(tokenizer.encode(thinking))
    assert labels[: 2 + lead] == ["<|refuse:safety|>", *["."] * lead, "<|refuse:safety|>"]
