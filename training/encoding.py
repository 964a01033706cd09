"""The Refusal Tokens encoder: from a record to `input_ids` and `labels` (arXiv 2412.06748, sec. 3).

The last assistant turn is preceded by a control token: the respond token, or the refuse token of
the record's category. The model learns to choose the token from the prompt and then to write what
goes with it:

    input_ids   prompt, generation prompt | control token | answer | end of turn
    labels      -100 ...                  | control token | answer | end of turn
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from steering.manifest import Manifest
from steering.tokens import ControlTokens
from training.config import LossOn
from training.records import Message, Record

IGNORED = -100
"""Label of a position without loss."""

logger = logging.getLogger(__name__)


class EncodingError(ValueError):
    """A record cannot be encoded with this tokenizer and chat template."""


class PromptTooLongError(EncodingError):
    """A prompt leaves no room for the control token."""


@dataclass(frozen=True)
class Example:
    """One training sequence; both lists have the same length."""

    input_ids: list[int]
    labels: list[int]
    """Per position the token to be predicted there (unshifted), or IGNORED."""


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


@dataclass(frozen=True, eq=False)
class Encoder:
    """Encodes records with one tokenizer and its chat template."""

    tokenizer: PreTrainedTokenizerBase
    control: ControlTokens
    categories: tuple[str, ...]
    """Names, in the order of `control.refuse`."""
    max_length: int
    loss_on: LossOn = "answer"

    @classmethod
    def for_manifest(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        control: ControlTokens,
        manifest: Manifest,
        max_length: int,
        loss_on: LossOn = "answer",
    ) -> "Encoder":
        """The encoder for a checkpoint with this manifest."""
        return cls(tokenizer, control, manifest.names, max_length, loss_on)

    def encode(self, record: Record, *, decision_only: bool = False) -> Example:
        """Encode one record, which ends in an assistant turn.

        decision_only: leave out what comes behind the control token.
        Raises PromptTooLongError, and EncodingError if the chat template does not render the prompt
        as the beginning of the conversation.
        """
        prompt = render(self.tokenizer, record.prompt)
        answer = [] if decision_only else answer_ids(self.tokenizer, prompt, record.messages)
        return lay_out(
            self.tokenizer.encode(prompt, add_special_tokens=False),
            self._control_of(record),
            answer,
            self.max_length,
            self.loss_on,
        )

    def encode_all(self, records: Iterable[Record]) -> list[Example]:
        """Encode records, skipping those whose prompt is too long; says in the log how many."""
        examples: list[Example] = []
        skipped = cut = 0
        for record in records:
            try:
                examples.append(self.encode(record))
            except PromptTooLongError:
                skipped += 1
                continue
            cut += examples[-1].input_ids[-1] != self.tokenizer.eos_token_id
        if skipped or cut:
            logger.warning(
                "Of %d records, %d were skipped and %d answers were cut: longer than max_length=%d",
                len(examples) + skipped,
                skipped,
                cut,
                self.max_length,
            )
        return examples

    def decisions(self, records: Iterable[Record]) -> list[Example]:
        """Examples that end behind the control token: of refusals and their look-alikes."""
        examples = []
        for record in records:
            if (record.category or record.contrast_of) and self._control_of(record):
                with suppress(PromptTooLongError):
                    examples.append(self.encode(record, decision_only=True))
        return examples

    def _control_of(self, record: Record) -> list[int]:
        if record.category is not None:
            return [self.control.refuse[self.categories.index(record.category)]]
        return [] if self.control.respond is None else [self.control.respond]


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, answered: bool = False
) -> str:
    """Render messages by the chat template: with the generation prompt, unless `answered`."""
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return str(
        tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=not answered)
    )


def answer_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: str, messages: Sequence[Message]
) -> list[int]:
    """Token ids of the last turn of `messages`: its text and the end-of-sequence token.

    prompt: the messages before it, rendered. What the template writes behind the end-of-sequence
    token (a newline, say) is left out: generation stops before it.
    Raises EncodingError if the rendered conversation does not start with `prompt`, or does not
    end the turn with the tokenizer's end-of-sequence token.
    """
    conversation = render(tokenizer, messages, answered=True)
    if not conversation.startswith(prompt):
        raise EncodingError(
            "the chat template does not render the prompt as the beginning of the conversation:"
            f" {prompt!r} against {conversation!r}"
        )
    ids: list[int] = tokenizer.encode(conversation[len(prompt) :], add_special_tokens=False)
    if tokenizer.eos_token_id not in ids:
        raise EncodingError(
            f"the chat template does not end an answer with {tokenizer.eos_token!r}, the"
            f" tokenizer's end-of-sequence token: {conversation[len(prompt) :]!r}"
        )
    return ids[: ids.index(tokenizer.eos_token_id) + 1]
