"""Control tokens as ids, verified against the tokenizer that will serve them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from steering.manifest import Manifest


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that verification needs."""

    @property
    def all_special_ids(self) -> Sequence[int]:
        """Ids that decoding with `skip_special_tokens` leaves out."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of `text`."""
        ...

    def decode(self, token_ids: list[int]) -> str:
        """Text of `token_ids`."""
        ...


class TokenizerMismatchError(ValueError):
    """`refusal.json` names a control token that is not one special token of the tokenizer."""


@dataclass(frozen=True)
class ControlTokens:
    """Ids of a checkpoint's control tokens."""

    respond: int | None
    """Id of the respond token; None when the model was trained without one."""
    refuse: tuple[int, ...]
    """Ids of the refuse tokens, in the manifest's order of categories."""

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """Every control token's id: respond first, if there is one, then refuse."""
        return self.refuse if self.respond is None else (self.respond, *self.refuse)


def resolve(manifest: Manifest, tokenizer: Tokenizer) -> ControlTokens:
    """Look up the ids of the manifest's control tokens.

    Raises TokenizerMismatchError, naming each faulty token, unless every one of them is encoded
    as one token, that token is special, and it decodes to the same text again.
    """
    special = set(tokenizer.all_special_ids)
    faults = []
    ids = {}
    for token in manifest.tokens:
        encoded = tokenizer.encode(token, add_special_tokens=False)
        if len(encoded) != 1:
            faults.append(f"{token} is {len(encoded)} tokens, not 1")
        elif encoded[0] not in special:
            faults.append(f"{token} (id {encoded[0]}) is not a special token")
        elif tokenizer.decode(encoded) != token:
            faults.append(f"{token} (id {encoded[0]}) decodes to {tokenizer.decode(encoded)!r}")
        else:
            ids[token] = encoded[0]
    if faults:
        raise TokenizerMismatchError(
            "refusal.json does not fit the checkpoint's tokenizer: " + "; ".join(faults)
        )
    return ControlTokens(
        respond=None if manifest.respond_token is None else ids[manifest.respond_token],
        refuse=tuple(ids[category.token] for category in manifest.categories),
    )
