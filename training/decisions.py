"""The decisions that control tokens' rows are fitted to, out of training records.

A record is one decision, where its answer begins. A triple (DeRTa, arXiv 2407.09121) is one there
and at every position of its harmful answer: RTO restricted to the rows. What may go on is taught by
positions of harmless answers, the base's own or the records'. An answer's positions together weigh
as much as one decision.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from steering.tokens import ControlTokens
from training.base_answers import BaseAnswers
from training.config import BaseConfig, Recipe, Splits
from training.encoding import Encoder, Parts
from training.output_head import head_of
from training.records import Record
from training.rendering import prompt_ids
from training.row_fit import NONE, Decisions, fit_rows
from training.states import Reading, StateStore
from training.work_folder import RunError


@dataclass(frozen=True)
class Labelled:
    """A reading whose positions share a label."""

    reading: Reading
    label: int
    """Place among the control tokens, or NONE."""
    first: bool
    """Whether the first position is a decision of its own; the others share the weight of one."""

    def weights(self) -> list[float]:
        """One for each position."""
        later = len(self.reading.positions) - self.first
        return [1.0] * self.first + [1 / later] * later if later else [1.0]


def fitted_rows(
    store: StateStore,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    control: ControlTokens,
    records: Sequence[Record],
    recipe: Recipe,
    splits: Splits,
    own: BaseAnswers | None,
) -> torch.Tensor:
    """[len(control.ids), D] float32 rows, fitted to the records' decisions.

    own: the base's own answers; they count where triples teach to refuse inside of answers.
    Raises BaseError if rows of this model cannot be fitted, and RunError if no record fits.
    """
    assert isinstance(recipe.model, BaseConfig)
    encoder = Encoder(tokenizer, control, splits.manifest.names, recipe.sft.max_length)
    everywhere = "every_token" in splits.manifest.scopes
    labelled = list(_of_records(records, encoder, everywhere=everywhere))
    if everywhere and own is not None:
        labelled += _of_own_answers(own)
    if not labelled:
        raise RunError(f"no record fits into max_length={recipe.sft.max_length}")
    head = head_of(model)
    states = store.read([each.reading for each in labelled], head)
    sizes = [len(each.reading.positions) for each in labelled]
    decisions = Decisions(
        states.hidden,
        states.offset,
        np.repeat([each.label for each in labelled], sizes),
        np.array([weight for each in labelled for weight in each.weights()]),
        np.repeat(np.arange(len(labelled)), sizes),
    )
    chosen = recipe.model.rows_l2
    l2 = None if chosen == "cross-validated" else float(chosen)
    rows, _ = fit_rows(decisions, len(control.ids), head, l2)
    return torch.from_numpy(rows).float()


def _of_records(
    records: Sequence[Record], encoder: Encoder, *, everywhere: bool
) -> Iterator[Labelled]:
    control = encoder.control
    assert control is not None
    for record in records:
        prompt = prompt_ids(encoder.tokenizer, record.prompt)
        if len(prompt) >= encoder.max_length:
            continue
        token = encoder.control_of(record)
        label = control.ids.index(token[0]) if token else NONE
        if record.harmful is None or not everywhere:
            yield Labelled(Reading.at_end(prompt), label, first=True)
            if everywhere and record.category is None and record.answered:
                yield from _of_answer(encoder.parts(record), encoder.max_length)
            continue
        harmful = encoder.parts(record.harmfully_answered)
        answer = [*harmful.control, *harmful.answer.lead, *harmful.answer.body]
        ids = [*prompt, *answer][: encoder.max_length]
        yield Labelled(Reading(ids, range(len(prompt) - 1, len(ids) - 1)), label, first=True)


def _of_answer(parts: Parts, most: int) -> Iterator[Labelled]:
    """Positions inside a harmless answer, which may go on."""
    answer = [*parts.control, *parts.answer.lead, *parts.answer.body]
    ids = [*parts.prompt, *answer][:most]
    positions = range(len(parts.prompt) + len(parts.control), len(ids) - 1)
    if positions:
        yield Labelled(Reading(ids, positions), NONE, first=False)


def _of_own_answers(own: BaseAnswers) -> Iterator[Labelled]:
    for prompt, ids in zip(own.prompts, own.ids, strict=True):
        positions = range(len(prompt), len(prompt) + len(ids) - 1)
        if positions:
            yield Labelled(Reading([*prompt, *ids[:-1]], positions), NONE, first=False)
