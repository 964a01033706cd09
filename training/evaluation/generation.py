"""Greedy answers by transformers, with the gate at work as in the server's sampler."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from steering.gate import ControlIds, apply_gate
from steering.tokens import ControlTokens
from training.evaluation.target import EvalError
from training.progress import Progress
from training.scoring import batches, left_padded


@dataclass(frozen=True)
class GateSettings:
    """What the gate applies to every answer of a call."""

    control: ControlTokens
    thresholds: tuple[float, ...]
    """[C] log-odds."""
    every_token: bool
    begun: bool = False
    """Whether the prompts hold the beginning of the answer already."""


class _Gate(LogitsProcessor):
    """The gate's adapter to transformers: one per batch, so that no state outlives it."""

    def __init__(self, settings: GateSettings, prompt_length: int, device: torch.device) -> None:
        self._settings = settings
        self._prompt_length = prompt_length
        self._ids = ControlIds.on(device, settings.control)
        self._thresholds = torch.tensor(settings.thresholds, device=device)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Decide the rows at a deciding position. input_ids: [n, t]; scores: [n, V]."""
        written = input_ids[:, self._prompt_length :]
        first = written.shape[1] == 0 and not self._settings.begun
        refused = torch.isin(written, self._ids.refuse).any(dim=1)
        deciding = ~refused if first or self._settings.every_token else torch.zeros_like(refused)
        rows = deciding.nonzero().squeeze(1)
        apply_gate(
            scores,
            rows,
            self._thresholds.expand(len(rows), -1),
            torch.full_like(rows, first, dtype=torch.bool),
            self._ids,
        )
        return scores


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    gate: GateSettings | None,
    batch_size: int,
    label: str,
) -> list[list[int]]:
    """Token ids that the model writes behind each prompt, without the end of the turn.

    gate: None for a model without control tokens. Where the model's positions leave less room than
    `max_new_tokens`, answers are shorter. Raises EvalError for a prompt that leaves none.
    """
    limit = getattr(model.config, "max_position_embeddings", None)
    longest = max(map(len, prompts), default=0)
    if limit is not None and longest >= limit:
        raise EvalError(
            f"a prompt has {longest} tokens, more than {limit} positions leave room for"
        )
    answers: list[list[int]] = [[] for _ in prompts]
    model.train(False)
    with Progress(label, len(prompts), unit="prompt") as progress, torch.inference_mode():
        for rows in batches(prompts, batch_size):
            batch = [prompts[row] for row in rows]
            room = max_new_tokens if limit is None else min(max_new_tokens, limit - len(batch[0]))
            for row, ids in zip(rows, _batch(model, tokenizer, batch, room, gate), strict=True):
                answers[row] = ids
            progress.advance(len(rows))
    return answers


def _batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    gate: GateSettings | None,
) -> list[list[int]]:
    ids, mask = left_padded(prompts, model.device)
    longest = ids.shape[1]
    end = tokenizer.eos_token_id
    processors = LogitsProcessorList()
    if gate is not None:
        processors.append(_Gate(gate, longest, model.device))
    written = model.generate(  # type: ignore[operator]
        input_ids=ids,
        attention_mask=mask,
        generation_config=GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=end, pad_token_id=end
        ),
        logits_processor=processors,
    )[:, longest:].tolist()
    return [row[: row.index(end)] if end in row else row for row in written]
