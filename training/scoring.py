"""Scores of prompts by transformers: the log-odds of each refuse token where an answer begins."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from steering.gate import log_odds
from steering.tokens import ControlTokens
from training.arguments import BATCH_SIZE
from training.errors import TrainingError
from training.progress import Progress
from training.records import Prompt
from training.rendering import prompt_ids


class ScoringError(TrainingError):
    """A prompt cannot be scored by this model."""


def score_prompts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    control: ControlTokens,
    prompts: Sequence[Prompt],
    *,
    batch_size: int = BATCH_SIZE,
) -> npt.NDArray[np.float32]:
    """Scores of every category for every prompt.

    Prompts are rendered with the generation prompt, so that the next token is the answer's first.
    Returns [n, C] float32, in the order of `prompts` and `control.refuse`; up to float rounding a
    prompt's scores do not depend on those that share its batch.
    Raises ScoringError if a prompt is longer than the model's positions.
    """
    encoded = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    return score_ids(model, control, encoded, batch_size=batch_size)


def score_ids(
    model: PreTrainedModel,
    control: ControlTokens,
    encoded: Sequence[Sequence[int]],
    *,
    batch_size: int = BATCH_SIZE,
) -> npt.NDArray[np.float32]:
    """`score_prompts` for prompts that are token ids already, up to where the answer begins."""
    check_lengths(encoded, getattr(model.config, "max_position_embeddings", None))
    refuse_ids = torch.tensor(control.refuse, device=model.device)
    scores = np.empty((len(encoded), len(control.refuse)), dtype=np.float32)
    model.train(False)
    with Progress("scoring", len(encoded), unit="prompt") as progress, torch.inference_mode():
        for rows in batches(encoded, batch_size):
            logits = next_token_logits(model, [encoded[row] for row in rows])
            scores[rows] = log_odds(logits, refuse_ids).cpu().numpy()
            progress.advance(len(rows))
    return scores


def next_token_logits(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Logits of the token after each prompt, [len(prompts), V] float32.

    Prompts are padded on the left, so that only the last position's logits are ever computed;
    positions count from each prompt's own first token.
    """
    ids, mask = left_padded(prompts, model.device)
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        logits_to_keep=1,
        use_cache=False,
    )
    logits: torch.Tensor = output.logits[:, -1]
    return logits.float()


def left_padded(
    prompts: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask, both [n, longest], int64, with padding on the left."""
    longest = max(map(len, prompts))
    # The padding's id does not matter: it is masked.
    ids = torch.tensor([[0] * (longest - len(prompt)) + [*prompt] for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids.to(device), mask.to(device)


def batches(prompts: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Row numbers of `prompts` in batches of similar length, the longest first."""
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]), reverse=True)
    for begin in range(0, len(order), batch_size):
        yield order[begin : begin + batch_size]


def check_lengths(prompts: Sequence[Sequence[int]], limit: int | None) -> None:
    """Raise ScoringError, naming the first of them, if prompts leave no room for an answer.

    limit: the model's positions; None if they are not limited.
    """
    # One position is the answer's own first token.
    long = [] if limit is None else [row for row, ids in enumerate(prompts) if len(ids) >= limit]
    if long:
        shown = ", ".join(f"number {row + 1} with {len(prompts[row])}" for row in long[:5])
        raise ScoringError(
            f"{len(long)} prompts have more tokens than the model's {limit} positions leave room"
            f" for: {shown}"
        )
