from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.manifest import Manifest
from steering.tokens import TokenizerMismatchError
from training.categories import refuse_token
from training.config import ScratchConfig
from training.control_tokens import (
    RESPOND_WORDS,
    add_control_tokens,
    refuse_words,
    set_rows_to_means,
)
from training.loading import control_tokens, load
from training.records import Record
from training.scratch import build_model, texts_of, train_tokenizer

Plain = tuple[LlamaForCausalLM, PreTrainedTokenizerFast]


def test_rows_become_the_means_of_others() -> None:
    matrix = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0], [9.0, 9.0]])
    # Row 3 is made from row 2 as it was before.
    set_rows_to_means(matrix, [(2, [0, 1]), (3, [2, 1])])
    assert matrix.tolist() == [[1.0, 2.0], [3.0, 4.0], [2.0, 3.0], [1.5, 2.0]]


def test_tokens_are_named_after_their_category(manifest: Manifest) -> None:
    assert refuse_token("safety") == manifest.categories[0].token
    assert refuse_words(manifest.categories[0]).endswith("safety. Harm and crime.")


@pytest.fixture
def plain(sizes: ScratchConfig, records: list[Record], tied: bool) -> Plain:
    """A model with random weights and its tokenizer, without control tokens."""
    config = sizes.model_copy(update={"tied_embeddings": tied})
    tokenizer = train_tokenizer(texts_of(records), config)
    return build_model(tokenizer, config, seed=0), tokenizer


def embeddings(model: LlamaForCausalLM) -> torch.Tensor:
    weight = model.model.embed_tokens.weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach()


def weights(model: LlamaForCausalLM) -> list[torch.Tensor]:
    return [embeddings(model), model.lm_head.weight.detach()]


def test_new_rows_are_means_and_old_rows_stay(plain: Plain, manifest: Manifest, tied: bool) -> None:
    model, tokenizer = plain
    size = len(tokenizer)
    before = [matrix.clone() for matrix in weights(model)]
    control = add_control_tokens(model, tokenizer, manifest)
    assert control.ids == (size, size + 1, size + 2)
    words = [RESPOND_WORDS, *map(refuse_words, manifest.categories)]
    for old, new in zip(before, weights(model), strict=True):
        assert new.shape == (size + 3, 64)
        assert torch.equal(old, new[:size])
        for token, text in zip(control.ids, words, strict=True):
            torch.testing.assert_close(new[token], old[tokenizer.encode(text)].mean(dim=0))
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert not torch.equal(*weights(model)) or tied


def test_tokens_outlive_saving_and_reloading(
    plain: Plain, manifest: Manifest, tmp_path: Path
) -> None:
    model, tokenizer = plain
    control = add_control_tokens(model, tokenizer, manifest)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, tokenizer_again = load(tmp_path)
    assert isinstance(again, LlamaForCausalLM)
    assert control_tokens(manifest, tokenizer_again) == control
    assert tokenizer_again.all_special_tokens == tokenizer.all_special_tokens
    assert set(manifest.tokens) < set(tokenizer_again.all_special_tokens)
    text = "".join(["steal", *manifest.tokens, "bread"])
    assert tokenizer_again.encode(text) == tokenizer.encode(text)
    assert tokenizer_again.decode(tokenizer.encode(text), skip_special_tokens=True) == "stealbread"
    for saved, loaded in zip(weights(model), weights(again), strict=True):
        assert torch.equal(saved, loaded)


def test_adding_twice_changes_nothing(
    sizes: ScratchConfig, records: list[Record], manifest: Manifest
) -> None:
    tokenizer = train_tokenizer(texts_of(records), sizes)
    model = build_model(tokenizer, sizes, seed=0)
    first = add_control_tokens(model, tokenizer, manifest)
    special = list(tokenizer.all_special_tokens)
    with torch.no_grad():
        embeddings(model)[first.refuse[0]] = 5.0
    assert add_control_tokens(model, tokenizer, manifest) == first
    assert tokenizer.all_special_tokens == special
    assert (embeddings(model)[first.refuse[0]] == 5.0).all()


def test_embeddings_never_shrink(
    sizes: ScratchConfig, records: list[Record], manifest: Manifest
) -> None:
    tokenizer = train_tokenizer(texts_of(records), sizes)
    model = build_model(tokenizer, sizes, seed=0)
    model.resize_token_embeddings(512, mean_resizing=False)
    control = add_control_tokens(model, tokenizer, manifest)
    weight = embeddings(model)
    assert weight.shape[0] == 512
    torch.testing.assert_close(
        weight[control.respond], weight[tokenizer.encode(RESPOND_WORDS)].mean(dim=0)
    )


def test_embeddings_grow_to_a_multiple(plain: Plain, manifest: Manifest) -> None:
    model, tokenizer = plain
    size = len(tokenizer)
    before = [matrix.clone() for matrix in weights(model)]
    add_control_tokens(model, tokenizer, manifest, multiple=64)
    rows = -(-(size + 3) // 64) * 64
    assert rows > size + 3
    assert model.config.vocab_size == rows
    for old, new in zip(before, weights(model), strict=True):
        assert new.shape[0] == rows
        # No token has the rows behind: the mean of all keeps their logits in the middle.
        torch.testing.assert_close(
            new[size + 3 :], old.mean(dim=0).expand(rows - size - 3, -1), rtol=1e-4, atol=1e-6
        )


def test_a_model_may_go_without_a_respond_token(
    sizes: ScratchConfig, records: list[Record], manifest: Manifest
) -> None:
    tokenizer = train_tokenizer(texts_of(records), sizes)
    model = build_model(tokenizer, sizes, seed=0)
    bare = manifest.model_copy(update={"respond_token": None})
    assert add_control_tokens(model, tokenizer, bare).respond is None
    assert "<|respond|>" not in tokenizer.get_vocab()


def test_a_token_that_is_an_ordinary_word_is_refused(
    sizes: ScratchConfig, records: list[Record], manifest: Manifest
) -> None:
    tokenizer = train_tokenizer(texts_of(records), sizes)
    with pytest.raises(TokenizerMismatchError, match=r"<\|respond\|> is \d+ tokens, not 1"):
        control_tokens(manifest, tokenizer)
