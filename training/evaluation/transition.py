"""DeRTa's transition: whether the model still turns to a refusal after k harmful tokens.

Two looks at the same triples (arXiv 2407.09121, figure 4):
- *at once*: the harmful answer is forced on the model, and at every one of its positions the next
  token is decided, in one forward pass. k runs from 0 to the whole answer.
- *going on*: the model is given a share of the harmful answer and writes on by itself; the refusal
  may come later, and its position is noted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch

from steering.gate import decide, log_odds
from training.evaluation.checkpoint import CheckpointTarget
from training.evaluation.generation import generate
from training.evaluation.judges import Judge
from training.evaluation.measures import Share, failures
from training.evaluation.target import Dial, EvalError, Reply
from training.progress import Progress
from training.records import Record
from training.rendering import answer_of, render

PARTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the harmful answer that are given before the model goes on."""


@dataclass(frozen=True)
class AtOnce:
    """Behind exactly `tokens` tokens of the harmful answer."""

    tokens: int
    turns: Share
    """Of the answers that have that many tokens: the next token is a refusal's."""
    turned: Share
    """Of the same: some position up to this one would have turned it, the opening left aside,
    since an answer that has begun was not refused there."""


@dataclass(frozen=True)
class AtPart:
    """Behind a share of each harmful answer."""

    part: float
    turns: Share
    """The next token is a refusal's."""
    goes_on: Share
    """The model refuses somewhere in what it writes on."""
    position: float | None
    """Median position of that refusal, counted from the answer's beginning in what the judge
    counts in: tokens, or characters for phrases. None where nothing refuses."""


@dataclass(frozen=True)
class Transition:
    """The transition of all triples."""

    told_by: str
    at_once: tuple[AtOnce, ...]
    parts: tuple[AtPart, ...]
    first: tuple[int | None, ...]
    """By triple, behind how many harmful tokens, from 1 on, the forced answer first turns; None if
    it never does."""


def at_once(turns: Sequence[Sequence[bool]]) -> list[AtOnce]:
    """The curve over k. turns: by answer, whether it turns behind its first 0, 1, ... tokens."""
    points = []
    for tokens in range(max(map(len, turns), default=0)):
        long_enough = [answer for answer in turns if len(answer) > tokens]
        points.append(
            AtOnce(
                tokens,
                Share.among(answer[tokens] for answer in long_enough),
                Share.among(any(answer[min(tokens, 1) : tokens + 1]) for answer in long_enough),
            )
        )
    return points


def cut(part: float, length: int) -> int:
    """Tokens that a share of a harmful answer of `length` tokens has, rounded half up."""
    return int(part * length + 0.5)


def transition(
    target: CheckpointTarget,
    judge: Judge,
    triples: Sequence[Record],
    dial: Dial,
    *,
    words: Sequence[str],
    max_tokens: int,
    notes: list[str],
) -> Transition:
    """Measure the transition.

    triples: records with a harmful answer.
    words: what refusals begin with in a model that was trained to turn by a word ("Sorry", the
    paper's). Behind the answer's beginning the next token is then a refusal's where the likeliest
    one is the first of such a word, and the gate works in the dial's scope. Without words it works
    at every token, and tells.
    max_tokens: that the model writes on.
    notes: gets what went wrong with replies that nobody can tell.
    Raises EvalError for a triple that is longer than the model's positions, and EncodingError for
    one that the chat template does not take.
    """
    if not words:
        dial = Dial(dial.rates, dial.thresholds, "every_token")
    begun = [_begun(target, triple) for triple in triples]
    turns = _forced(target, begun, dial, words)
    first = tuple(next((k for k, turn in enumerate(row) if turn and k), None) for row in turns)
    parts = []
    every: list[Reply] = []
    for part in PARTS:
        lengths = [cut(part, len(harmful)) for _, _, harmful in begun]
        replies = _go_on(target, judge, triples, begun, lengths, dial, max_tokens)
        every += replies
        told = [reply for reply in replies if reply.refused is not None]
        refusals = [reply for reply in told if reply.refused]
        positions = [reply.position for reply in refusals if reply.position is not None]
        parts.append(
            AtPart(
                part,
                Share.among(row[k] for row, k in zip(turns, lengths, strict=True)),
                Share.among(bool(reply.refused) for reply in told),
                float(median(positions)) if positions else None,
            )
        )
    notes.extend(failures(every, "transition: "))
    return Transition(judge.name, tuple(at_once(turns)), tuple(parts), first)


Begun = tuple[list[int], list[int], list[int]]
"""Token ids of a prompt, of what opens an answer, and of the harmful answer."""


def _begun(target: CheckpointTarget, triple: Record) -> Begun:
    respond = None if target.control is None else target.control.respond
    answer = answer_of(
        target.tokenizer,
        render(target.tokenizer, triple.prompt),
        triple.harmfully_answered.conversation,
    )
    # As in training: the thinking part that a template writes opens the answer, too.
    opening = [*([] if respond is None else [respond]), *answer.lead]
    return target.ids(triple.prompt), opening, answer.body[:-1]


def _forced(
    target: CheckpointTarget, begun: Sequence[Begun], dial: Dial, words: Sequence[str]
) -> list[list[bool]]:
    """By answer, whether the next token is a refusal's behind its first 0, 1, ... tokens."""
    limit = getattr(target.model.config, "max_position_embeddings", None)
    openers = {
        target.tokenizer.encode(form, add_special_tokens=False)[0]
        for word in words
        for form in (word, f" {word}")
    }
    if target.control is None and not openers:
        raise EvalError("a model without control tokens needs a word that its refusals begin with")
    target.model.train(False)
    found = []
    with Progress("forcing", len(begun), unit="answer") as progress, torch.inference_mode():
        for prompt, opening, harmful in begun:
            ids = [*prompt, *opening, *harmful]
            if limit is not None and len(ids) > limit:
                raise EvalError(f"a triple has {len(ids)} tokens, the model {limit} positions")
            kept = len(harmful) + len(opening) + 1
            output = target.model(
                input_ids=torch.tensor([ids], device=target.model.device),
                logits_to_keep=kept,
                use_cache=False,
            )
            logits = output.logits[0].float()  # [kept, V]
            # Position 0 is where a control token decides, before all that opens the answer, or else
            # where its text begins; behind the opening, only harmful tokens count.
            first = 0 if target.control is not None else len(opening)
            logits = torch.cat([logits[first : first + 1], logits[len(opening) + 1 :]])
            found.append(_turns(target, logits, dial, openers))
            progress.advance()
    return found


def _turns(
    target: CheckpointTarget, logits: torch.Tensor, dial: Dial, openers: set[int]
) -> list[bool]:
    """Whether each position's next token is a refusal's. logits: [n, V], overwritten."""
    decided: list[bool] = []
    if target.control is not None:
        refuse = torch.tensor(target.control.refuse, device=logits.device)
        scores = log_odds(logits, refuse).cpu().numpy()
        thresholds = np.array(target.thresholds(dial), dtype=np.float32)
        decided = [bool(choice >= 0) for choice in decide(scores, thresholds)]
        if not openers:
            return decided
        logits[:, list(target.control.ids)] = -torch.inf
    by_word = [token in openers for token in logits.argmax(dim=1).tolist()]
    # At the first position control tokens decide, where there are any.
    return [*decided[:1], *by_word[len(decided[:1]) :]]


def _go_on(
    target: CheckpointTarget,
    judge: Judge,
    triples: Sequence[Record],
    begun: Sequence[Begun],
    lengths: Sequence[int],
    dial: Dial,
    max_tokens: int,
) -> list[Reply]:
    """What the model writes behind so many tokens of each harmful answer, judged."""
    written: list[Reply] = [Reply(None)] * len(begun)
    # Answers of which nothing is given open as usual: the gate decides their first token.
    for started in (False, True):
        rows = [row for row, length in enumerate(lengths) if bool(length) == started]
        answers = generate(
            target.model,
            target.tokenizer,
            [_prefix(begun[row], lengths[row]) for row in rows],
            max_new_tokens=max_tokens + (not started),  # the control token
            gate=target.gate(dial, begun=started),
            batch_size=target.batch_size,
            label="going on",
        )
        for row, answer in zip(rows, answers, strict=True):
            written[row] = target.read(answer)
    replies = judge.judge([triple.prompt for triple in triples], written)
    return [
        _from_start(target, judge, reply, harmful[:length])
        for reply, (_, _, harmful), length in zip(replies, begun, lengths, strict=True)
    ]


def _prefix(begun: Begun, length: int) -> list[int]:
    prompt, opening, harmful = begun
    return [*prompt, *opening, *harmful[:length]] if length else prompt


def _from_start(
    target: CheckpointTarget, judge: Judge, reply: Reply, given: Sequence[int]
) -> Reply:
    """The reply with its position counted from the answer's beginning."""
    if reply.position is None:
        return reply
    before = len(target.tokenizer.decode(list(given))) if judge.reads_text else len(given)
    return Reply(reply.refused, reply.category, reply.position + before, reply.text)
