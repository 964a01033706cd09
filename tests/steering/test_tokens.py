from collections.abc import Sequence

import pytest

from steering.manifest import Category, Manifest
from steering.tokens import ControlTokens, TokenizerMismatchError, resolve

MANIFEST = Manifest(
    respond_token="<|respond|>",
    categories=(
        Category(name="safety", token="<|refuse:safety|>"),
        Category(name="temporal", token="<|refuse:temporal|>"),
    ),
)


class WordTokenizer:
    """Whole words of a vocabulary, anything else letter by letter."""

    def __init__(self, words: Sequence[str], special: Sequence[int]) -> None:
        self.words = list(words)
        self.all_special_ids = special

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return [self.words.index(text)] if text in self.words else [0] * len(text)

    def decode(self, token_ids: list[int]) -> str:
        return "".join(self.words[token] for token in token_ids)


WORDS = ["?", "<|refuse:temporal|>", "<|respond|>", "<|refuse:safety|>"]


def test_orders_ids_as_the_manifest_does() -> None:
    control = resolve(MANIFEST, WordTokenizer(WORDS, special=[1, 2, 3]))
    assert control == ControlTokens(respond=2, refuse=(3, 1))
    assert control.ids == (2, 3, 1)


def test_a_respond_token_may_be_missing() -> None:
    manifest = MANIFEST.model_copy(update={"respond_token": None})
    control = resolve(manifest, WordTokenizer(WORDS, special=[1, 2, 3]))
    assert control.respond is None
    assert control.ids == (3, 1)


def test_names_every_token_that_the_tokenizer_does_not_know() -> None:
    with pytest.raises(TokenizerMismatchError) as caught:
        resolve(MANIFEST, WordTokenizer(WORDS[:2], special=[1]))
    assert "<|respond|> is 11 tokens, not 1" in str(caught.value)
    assert "<|refuse:safety|> is" in str(caught.value)
    assert "temporal" not in str(caught.value)


def test_a_control_token_must_be_special() -> None:
    with pytest.raises(TokenizerMismatchError, match=r"<\|respond\|> \(id 2\) is not a special"):
        resolve(MANIFEST, WordTokenizer(WORDS, special=[1, 3]))


def test_a_control_token_must_decode_to_itself() -> None:
    class Lossy(WordTokenizer):
        def decode(self, token_ids: list[int]) -> str:
            return super().decode(token_ids).strip("<|>")

    with pytest.raises(TokenizerMismatchError, match="decodes to 'respond'"):
        resolve(MANIFEST, Lossy(WORDS, special=[1, 2, 3]))
