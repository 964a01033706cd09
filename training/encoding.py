"""The Refusal Tokens encoder: from a record to `input_ids` and `labels` (arXiv 2412.06748, sec. 3).

The last assistant turn is preceded by a control token: the respond token, or the refuse token of
the record's category. The model learns to choose the token from the prompt and then to write what
goes with it:

    input_ids   prompt, generation prompt | control token | answer | end of turn
    labels      -100 ...                  | control token | answer | end of turn

Where a template has a thinking part, the control token stands before it: the decision comes first.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from steering.tokens import ControlTokens
from training.config import LossOn
from training.records import Record
from training.rendering import Answer, EncodingError, answer_of, prompt_ids, render

IGNORED = -100
"""Label of a position without loss."""
NOT_REFUSED = -101
"""Label of a decision for no refuse token, where there is no respond token to choose instead."""


class PromptTooLongError(EncodingError):
    """A prompt leaves no room for the control token."""


@dataclass(frozen=True)
class Example:
    """One training sequence; both lists have the same length."""

    input_ids: list[int]
    labels: list[int]
    """Per position the token to be predicted there (unshifted), or IGNORED."""
    kept: list[int] | None = None
    """Of the base's own answer: per position its place among those of all such answers, or -1."""


def lay_out(
    prompt: Sequence[int],
    control: Sequence[int],
    answer: Sequence[int],
    max_length: int,
    loss_on: LossOn = "answer",
) -> Example:
    """Put the parts of an example together, cutting what is too long from the answer's end.

    control: the control token's id, or nothing for a model that has no respond token.
    answer: ids of the text and the end of the turn.
    Raises PromptTooLongError if the control token would not fit.
    """
    if len(prompt) + max(len(control), 1) > max_length:
        raise PromptTooLongError(
            f"the prompt has {len(prompt)} tokens: no room for an answer in {max_length}"
        )
    learnt = [*control, *answer][: max_length - len(prompt)]
    input_ids = [*prompt, *learnt]
    labels = [*([IGNORED] * len(prompt)), *learnt] if loss_on == "answer" else list(input_ids)
    return Example(input_ids, labels)


@dataclass(frozen=True)
class Parts:
    """A record in token ids, before it is laid out."""

    prompt: list[int]
    """The conversation before the answer, and the generation prompt."""
    control: list[int]
    """The control token, or nothing where the model has none for this record."""
    answer: Answer


@dataclass(frozen=True, eq=False)
class Encoder:
    """Encodes records with one tokenizer and its chat template."""

    tokenizer: PreTrainedTokenizerBase
    control: ControlTokens | None
    """None for a model that is trained without control tokens."""
    categories: tuple[str, ...]
    """Names, in the order of `control.refuse`."""
    max_length: int
    loss_on: LossOn = "answer"

    def encode(self, record: Record, *, decision_only: bool = False) -> Example:
        """Encode one record, which ends in an assistant turn.

        decision_only: leave out what comes behind the control token.
        Raises PromptTooLongError, and EncodingError if the chat template does not render the prompt
        as the beginning of the conversation.
        """
        if decision_only:
            prompt = prompt_ids(self.tokenizer, record.prompt)
            return lay_out(prompt, self.control_of(record), [], self.max_length, self.loss_on)
        parts = self.parts(record)
        answer = [*parts.answer.lead, *parts.answer.body]
        return lay_out(parts.prompt, parts.control, answer, self.max_length, self.loss_on)

    def parts(self, record: Record) -> Parts:
        """The token ids that one record, which ends in an assistant turn, is made of.

        Raises EncodingError if the chat template does not render the prompt as the beginning of the
        conversation.
        """
        prompt = render(self.tokenizer, record.prompt)
        return Parts(
            self._ids(prompt),
            self.control_of(record),
            answer_of(self.tokenizer, prompt, record.conversation),
        )

    def encode_unrefused(self, record: Record) -> Example:
        """The decision alone of a harmless record, for a model without a respond token.

        What stands where the answer would begin does not matter: nothing is predicted from it.
        Raises PromptTooLongError.
        """
        prompt = prompt_ids(self.tokenizer, record.prompt)
        end = self.tokenizer.eos_token_id
        example = lay_out(prompt, [], [end], self.max_length)
        return replace(example, labels=[*example.labels[:-1], NOT_REFUSED])

    def encode_base(self, record: Record, answer: Sequence[int], kept: int) -> Example:
        """Encode a record with the base's own answer, whose positions begin at `kept` of all.

        Raises PromptTooLongError.
        """
        prompt = prompt_ids(self.tokenizer, record.prompt)
        control = self.control_of(record)
        example = lay_out(prompt, control, answer, self.max_length, self.loss_on)
        before = len(prompt) + len(control)
        places = [*([-1] * before), *range(kept, kept + len(answer))]
        return replace(example, kept=places[: len(example.input_ids)])

    def decisions(self, records: Iterable[Record]) -> list[Example]:
        """Examples that end behind the control token: of refusals and their look-alikes."""
        examples = []
        for record in records:
            if (record.category or record.contrast_of) and self.control_of(record):
                with suppress(PromptTooLongError):
                    examples.append(self.encode(record, decision_only=True))
        return examples

    def control_of(self, record: Record) -> list[int]:
        """The record's control token, or nothing where the model has none for it."""
        if self.control is None:
            return []
        if record.category is not None:
            return [self.control.refuse[self.categories.index(record.category)]]
        return [] if self.control.respond is None else [self.control.respond]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids
