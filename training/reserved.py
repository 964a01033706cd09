"""Reserved tokens of a base vocabulary, renamed to control tokens.

Some vocabularies hold special tokens that nothing uses, such as Llama 3's
`<|reserved_special_token_0|>`. A control token that takes the place of one needs no new row. It is
renamed in the tokenizer's files, so that `refusal.json`, the tokenizer and every text that spells
the token agree on one name, whatever base a checkpoint was made from.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from steering.manifest import Manifest
from training.base_source import BaseError
from training.control_tokens import descriptions, set_rows

_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def reuse_reserved_tokens(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    manifest: Manifest,
    pattern: str,
) -> PreTrainedTokenizerBase:
    """Rename reserved tokens to those of `manifest`, and set their rows from describing words.

    pattern: the reserved tokens' name, with `{}` for their number.
    Returns the renamed tokenizer. Raises BaseError if there are too few reserved tokens.
    """
    described = descriptions(tokenizer, manifest)
    renamed = rename_tokens(tokenizer, choose(tokenizer, list(described), pattern))
    ids = renamed.get_vocab()
    set_rows(model, {ids[token]: sources for token, sources in described.items()})
    return renamed


def choose(
    tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str], pattern: str
) -> dict[str, str]:
    """A reserved token's name for each of `tokens`, by number from the lowest on, as old: new.

    Raises BaseError if there are too few, or if the chat template writes one of them.
    """
    free = list(islice(_reserved(tokenizer, pattern), len(tokens)))
    if len(free) < len(tokens):
        raise BaseError(
            f"model.reserved_tokens {pattern!r}: the base's vocabulary has {len(free)} such special"
            f" tokens, and {len(tokens)} are needed; leave it empty to add new tokens"
        )
    for name in free:
        if name in str(tokenizer.chat_template):
            raise BaseError(
                f"model.reserved_tokens {pattern!r}: the chat template writes {name}, so that it"
                " is not free"
            )
    return dict(zip(free, tokens, strict=True))


def rename_tokens(
    tokenizer: PreTrainedTokenizerBase, names: dict[str, str]
) -> PreTrainedTokenizerBase:
    """A tokenizer in which the tokens `names` (old: new) are called otherwise; ids stay.

    Raises BaseError if the tokenizer has no `tokenizer.json`.
    """
    if not names:
        return tokenizer
    # No tokenizer has a method for this, so its saved files are edited.
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        if not Path(folder, _FILES[0]).is_file():
            raise BaseError("model.reserved_tokens: the base's tokenizer has no tokenizer.json")
        for file in (Path(folder, name) for name in _FILES):
            if file.is_file():
                content = _renamed(json.loads(file.read_text(encoding="utf-8")), names)
                file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        renamed = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return cast(PreTrainedTokenizerBase, renamed)


def _reserved(tokenizer: PreTrainedTokenizerBase, pattern: str) -> Iterator[str]:
    special = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    # Numbers may have gaps, and need not begin at 0.
    for number in range(len(tokenizer)):
        name = pattern.replace("{}", str(number))
        if name in special:
            yield name


def _renamed(content: Any, names: dict[str, str]) -> Any:
    """JSON with every key and every text that is one of `names` replaced."""
    if isinstance(content, dict):
        return {names.get(key, key): _renamed(value, names) for key, value in content.items()}
    if isinstance(content, list):
        return [_renamed(value, names) for value in content]
    return names.get(content, content) if isinstance(content, str) else content
