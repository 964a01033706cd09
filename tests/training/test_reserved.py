from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from steering.manifest import Manifest
from tests.families import RESERVED, base_config, write_base
from training.base_source import BaseError
from training.bases import load_base, load_tokenizer
from training.control_tokens import (
    RESPOND_WORDS,
    add_control_tokens,
    embedding_matrices,
    refuse_words,
)
from training.loading import control_tokens
from training.reserved import choose, rename_tokens, reuse_reserved_tokens


@pytest.fixture(params=sorted(RESERVED))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_control_tokens_take_reserved_places(
    family: str, tied: bool, manifest: Manifest, tmp_path: Path
) -> None:
    config = base_config(write_base(tmp_path / "base", family, tied=tied), family)
    model, base = load_base(config), load_tokenizer(config)
    before = [matrix.clone() for matrix in embedding_matrices(model)]
    tokenizer = reuse_reserved_tokens(model, base, manifest, RESERVED[family])
    control = add_control_tokens(model, tokenizer, manifest, multiple=64)
    numbers = (0, 1, 3) if family == "llama" else (0, 1, 2)  # the tiny Llama's have a gap
    names = [RESERVED[family].format(number) for number in numbers]
    assert list(control.ids) == base.convert_tokens_to_ids(names)
    assert len(tokenizer) == len(base)
    words = [RESPOND_WORDS, *map(refuse_words, manifest.categories)]
    kept = [row for row in range(len(base)) if row not in control.ids]
    for old, new in zip(before, embedding_matrices(model), strict=True):
        assert new.shape == old.shape
        assert torch.equal(new[kept], old[kept])
        for token, text in zip(control.ids, words, strict=True):
            mean = old[base.encode(text, add_special_tokens=False)].mean(dim=0)
            torch.testing.assert_close(new[token], mean)


def test_renamed_tokens_outlive_saving(family: str, manifest: Manifest, tmp_path: Path) -> None:
    config = base_config(write_base(tmp_path / "base", family), family)
    model, base = load_base(config), load_tokenizer(config)
    tokenizer = reuse_reserved_tokens(model, base, manifest, RESERVED[family])
    control = add_control_tokens(model, tokenizer, manifest)
    tokenizer.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert control_tokens(manifest, again) == control
    assert again.chat_template == base.chat_template
    assert (again.eos_token, again.pad_token) == (base.eos_token, base.pad_token)
    assert RESERVED[family].format(0) not in again.get_vocab()
    text = "No, sorry.\n 12 <|refuse:safety|>!"
    ids = again.encode(text, add_special_tokens=False)
    assert control.refuse[0] in ids
    assert again.decode(ids) == text
    assert again.decode(ids, skip_special_tokens=True) == "No, sorry.\n 12 !"
    plain = "Every other text, as before."
    assert again.encode(plain) == base.encode(plain)


def test_too_few_reserved_tokens(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base_config(write_base(tmp_path / "base", "llama"), "llama"))
    pattern = RESERVED["llama"]
    with pytest.raises(BaseError, match="vocabulary has 4 such special tokens, and 5 are needed"):
        choose(tokenizer, ["a", "b", "c", "d", "e"], pattern)
    with pytest.raises(BaseError, match="has 0 such special tokens, and 1 are needed"):
        choose(tokenizer, ["a"], "<extra_{}>")
    tokenizer.chat_template += "<|reserved_special_token_0|>"
    with pytest.raises(BaseError, match=r"the chat template writes <.reserved_special_token_0.>"):
        choose(tokenizer, ["a"], pattern)


def test_nothing_to_rename_changes_nothing(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base_config(write_base(tmp_path / "base", "llama"), "llama"))
    assert rename_tokens(tokenizer, {}) is tokenizer
