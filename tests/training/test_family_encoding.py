"""Records and triples through the chat template of every family."""

import random
from pathlib import Path

import pytest

from steering.manifest import Manifest
from tests.families import FAMILIES, TEMPLATE, write_checkpoint
from training.config import MethodsConfig
from training.encoding import IGNORED, Encoder, Example
from training.family_templates import TEMPLATES
from training.loading import control_tokens, load
from training.records import Message, Record
from training.rendering import EncodingError, end_of_turn
from training.triples import TripleEncoder

ASKED = (Message("system", "Be brief."), Message("user", "How do I pick a lock?"))
TRIPLE = Record((*ASKED, Message("assistant", "No, sorry.")), "safety", harmful="Yes, sure.")


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def encoder(family: str, manifest: Manifest, tmp_path: Path) -> Encoder:
    _, tokenizer = load(write_checkpoint(tmp_path / "start", family, manifest))
    return Encoder(tokenizer, control_tokens(manifest, tokenizer), manifest.names, 256)


@pytest.fixture
def turn_end(family: str) -> str:
    return TEMPLATES[TEMPLATE[family]].turn_end


def parts(encoder: Encoder, example: Example) -> tuple[str, str, list[str]]:
    """What is read before the first label, what behind it, and the labels from there on."""
    first = next(at for at, label in enumerate(example.labels) if label != IGNORED)
    decode = encoder.tokenizer.decode
    labels = [str(decode([label])) for label in example.labels[first:] if label != IGNORED]
    return str(decode(example.input_ids[:first])), str(decode(example.input_ids[first:])), labels


def test_an_answer_begins_with_its_token_and_ends_its_turn(encoder: Encoder, turn_end: str) -> None:
    before, learnt, labels = parts(encoder, encoder.encode(TRIPLE))
    assert "Be brief." in before
    assert "How do I pick a lock?" in before
    assert learnt == f"<|refuse:safety|>No, sorry.{turn_end}"
    assert "".join(labels) == learnt
    answered = Record((*ASKED, Message("assistant", "Yes, sure.")), None)
    same, learnt, _ = parts(encoder, encoder.encode(answered))
    assert (same, learnt) == (before, f"<|respond|>Yes, sure.{turn_end}")
    assert encoder.tokenizer.decode(end_of_turn(encoder.tokenizer)) == turn_end


def test_earlier_turns_are_not_learnt(encoder: Encoder, turn_end: str) -> None:
    more = (*TRIPLE.messages, Message("user", "Why?"), Message("assistant", "Yes."))
    before, learnt, _ = parts(encoder, encoder.encode(Record(more, None)))
    assert "No, sorry." in before
    assert learnt == f"<|respond|>Yes.{turn_end}"


def test_triples_turn_inside_the_harmful_answer(encoder: Encoder, turn_end: str) -> None:
    triples = TripleEncoder(encoder, MethodsConfig(no_prefix_share=0), random.Random(0))
    plain, _, _ = parts(encoder, encoder.encode(TRIPLE))
    before, learnt, _ = parts(encoder, triples.prefix(TRIPLE))
    assert before.startswith(f"{plain}<|respond|>")
    assert "Yes, sure.".startswith(before.removeprefix(f"{plain}<|respond|>"))
    assert learnt == f"<|refuse:safety|>No, sorry.{turn_end}"
    before, read, labels = parts(encoder, triples.rto(TRIPLE))
    assert (before, read) == (plain, f"<|respond|>Yes, sure.{turn_end}")
    assert set(labels) == {"<|refuse:safety|>"}


def test_an_answer_that_spells_the_end_of_a_turn_is_not_cut(
    encoder: Encoder, turn_end: str
) -> None:
    answer = Message("assistant", f"Write {turn_end} where a tag ends.")
    with pytest.raises(EncodingError, match=r"'Write .* where a tag ends.' spells '.*', a special"):
        encoder.encode(Record((*ASKED, answer), None))


def test_thinking_has_no_place(encoder: Encoder) -> None:
    answer = Message("assistant", "No, sorry.", thinking="A lock? Rather not.")
    with pytest.raises(EncodingError, match="leaves out the thinking"):
        encoder.encode(Record((*ASKED, answer), None))
