"""Scores for the scope of every token: the largest over the positions of the model's own answer.

With this scope a prompt is refused when some position of its answer reaches a threshold. The answer
is written as the server would write one that nothing refuses: the respond token first, if there is
one, then the likeliest token each time, with control tokens masked.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from steering.gate import log_odds
from steering.tokens import ControlTokens
from training.arguments import BATCH_SIZE, MAX_TOKENS
from training.progress import Progress
from training.records import Prompt
from training.rendering import prompt_ids
from training.scoring import batches, check_lengths, left_padded


def score_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    control: ControlTokens,
    prompts: Sequence[Prompt],
    *,
    max_tokens: int = MAX_TOKENS,
    batch_size: int = BATCH_SIZE,
) -> npt.NDArray[np.float32]:
    """Every category's largest score over the positions of an answer to every prompt.

    Counted are the first position, where the respond token stands, the up to `max_tokens` behind
    it, and the one where the answer ends. Returns [n, C] float32, in the order of `prompts` and
    `control.refuse`. Raises ScoringError if a prompt is longer than the model's positions.
    """
    encoded = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    limit = getattr(model.config, "max_position_embeddings", None)
    check_lengths(encoded, limit)
    scores = np.empty((len(encoded), len(control.refuse)), dtype=np.float32)
    ends = ends_of(model, tokenizer)
    model.train(False)
    with Progress("answering", len(encoded), unit="prompt") as progress, torch.inference_mode():
        for rows in batches(encoded, batch_size):
            room = max_tokens if limit is None else limit - max(len(encoded[row]) for row in rows)
            steps = 1 + min(max_tokens, room)
            scores[rows] = _largest(model, control, [encoded[row] for row in rows], ends, steps)
            progress.advance(len(rows))
    return scores


def _largest(
    model: PreTrainedModel,
    control: ControlTokens,
    prompts: Sequence[Sequence[int]],
    ends: torch.Tensor,
    steps: int,
) -> npt.NDArray[np.float32]:
    """[len(prompts), C] the largest scores of `steps` positions, or of those before the end."""
    ids, mask = left_padded(prompts, model.device)
    refuse = torch.tensor(control.refuse, device=model.device)
    every = torch.tensor(control.ids, device=model.device)
    largest = torch.full((len(prompts), len(refuse)), -torch.inf, device=model.device)
    going = torch.ones(len(prompts), dtype=torch.bool, device=model.device)
    cache = None
    for step in range(steps):
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            logits_to_keep=1,
            use_cache=True,
        )
        cache, logits = output.past_key_values, output.logits[:, -1].float()
        scores = log_odds(logits, refuse)
        largest = torch.where(going.unsqueeze(1), largest.maximum(scores), largest)
        logits.index_fill_(1, every, -torch.inf)
        token = logits.argmax(dim=1)
        if step == 0 and control.respond is not None:
            token = torch.full_like(token, control.respond)
        going &= ~torch.isin(token, ends)
        if not going.any():
            break
        ids = token.unsqueeze(1)
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
    return largest.cpu().numpy()


def ends_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Ids of the tokens that end an answer."""
    config = getattr(model, "generation_config", None)
    named = getattr(config, "eos_token_id", None)
    listed = named if isinstance(named, list) else [named]
    ids = {token for token in [*listed, tokenizer.eos_token_id] if token is not None}
    return torch.tensor(sorted(ids), dtype=torch.int64, device=model.device)
