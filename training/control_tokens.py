"""Control tokens put into a tokenizer and into a model's embeddings.

A new token starts as the mean of the rows of words that say what it stands for, in the input and
in the output embeddings: near to what the model knows already, and different for each category.
"""

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from steering.manifest import Category, Manifest
from steering.tokens import ControlTokens
from training.loading import control_tokens

RESPOND_WORDS = "Yes, sure. Here is the answer."


def refuse_words(category: Category) -> str:
    """Words whose embeddings the category's refuse token starts from."""
    name = category.name.replace("_", " ").replace("-", " ")
    return f"No, sorry. I cannot answer: {name}. {category.description}".strip()


def descriptions(tokenizer: PreTrainedTokenizerBase, manifest: Manifest) -> dict[str, list[int]]:
    """Ids of the words that describe each control token that the tokenizer does not have yet.

    To be taken before the tokens are added, so that no description can hold one of them.
    """
    words = {category.token: refuse_words(category) for category in manifest.categories}
    if manifest.respond_token is not None:
        words[manifest.respond_token] = RESPOND_WORDS
    known = set(tokenizer.get_vocab())
    return {
        token: tokenizer.encode(words[token], add_special_tokens=False)
        for token in manifest.tokens
        if token not in known
    }


def extend_tokenizer(tokenizer: PreTrainedTokenizerBase, manifest: Manifest) -> None:
    """Make every control token of `manifest` a special token of the tokenizer."""
    # Kept as they are, the tokenizer's own extra tokens stay special.
    tokenizer.add_special_tokens(
        {"extra_special_tokens": list(manifest.tokens)}, replace_extra_special_tokens=False
    )


def add_control_tokens(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    manifest: Manifest,
    multiple: int = 1,
) -> ControlTokens:
    """Make every control token of `manifest` one special token with a row of its own.

    Embeddings grow where they must, to a multiple of `multiple` rows, and never shrink. Tokens that
    the tokenizer has already keep their id; their row too, unless the model has no trained one for
    them.

    Raises steering.tokens.TokenizerMismatchError if a token does not come out as one special token.
    """
    described = descriptions(tokenizer, manifest)
    extend_tokenizer(tokenizer, manifest)
    _grow(model, len(tokenizer), multiple)
    control = control_tokens(manifest, tokenizer)
    ids = dict(zip(manifest.tokens, control.ids, strict=True))
    set_rows(model, {ids[token]: sources for token, sources in described.items()})
    return control


def set_rows(model: PreTrainedModel, rows: Mapping[int, list[int]]) -> None:
    """Set rows of the embeddings, at both ends, to the means of the rows that each is mapped to."""
    for matrix in embedding_matrices(model):
        set_rows_to_means(matrix, rows.items())


def _grow(model: PreTrainedModel, tokens: int, multiple: int) -> None:
    size = embedding_matrices(model)[0].shape[0]
    if tokens <= size:
        return
    model.resize_token_embeddings(tokens, pad_to_multiple_of=multiple, mean_resizing=False)
    # Rows that no token has: as means of all others their logits are no more than the average one,
    # while random ones could win over trained ones.
    with torch.no_grad():
        for matrix in embedding_matrices(model) if multiple > 1 else ():
            matrix[tokens:] = matrix[:size].float().mean(dim=0).to(matrix.dtype)


@torch.no_grad()
def set_rows_to_means(matrix: torch.Tensor, rows: Iterable[tuple[int, list[int]]]) -> None:
    """Overwrite rows of `matrix` ([V, ...]) in place.

    rows: (row, the rows whose mean it becomes) pairs; all means are taken before any is written.
    """
    means = [(row, matrix[sources].float().mean(dim=0)) for row, sources in rows]
    for row, mean in means:
        matrix[row] = mean.to(matrix.dtype)


def embedding_matrices(model: PreTrainedModel) -> list[torch.Tensor]:
    """The input embeddings and, where they are others, the output embeddings and their bias."""
    inputs = cast(torch.nn.Embedding, model.get_input_embeddings()).weight
    outputs = cast(torch.nn.Linear, model.get_output_embeddings())  # type: ignore[no-untyped-call]
    found: list[torch.Tensor] = [inputs]
    if outputs.weight is not inputs:
        found.append(outputs.weight)
    if getattr(outputs, "bias", None) is not None:
        found.append(outputs.bias)
    return found
