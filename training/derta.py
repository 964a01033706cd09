"""DeRTa's two objectives as layouts of labels (arXiv 2407.09121, "Decoupled Refusal Training").

For a triple (query q, safe answer r, harmful answer h):

    MLE with harmful-response prefix    -log P(r | q, h_<k)
    RTO                                 -sum over t of log P(refusal | q, h_<t)

Joined with refusal tokens (arXiv 2412.06748), `refusal` is the refuse token of the triple's
category, and h stands behind the respond token: it can only be written once the model has decided
to answer.

    prefix  input   q | respond | h_1 .. h_k | refuse | r | end
            labels  .                        | refuse | r | end
    RTO     input   q | respond | h_1    | h_2    | .. | end
            labels  . | refuse  | refuse | refuse | .. | refuse

What stands at an answer's first position is the decision on q alone, and that is the refuse token,
never the respond token: RTO labels it so although its input goes on with the respond token, and a
prefix leaves it without a label. The later labels condition on a respond token that the gate, or an
attack, has let through.
"""

import random
from collections.abc import Collection, Sequence

from training.config import LossOn, MethodsConfig
from training.encoding import IGNORED, Example, PromptTooLongError


def prefix_layout(
    prompt: Sequence[int],
    opening: Sequence[int],
    prefix: Sequence[int],
    refusal: Sequence[int],
    max_length: int,
    loss_on: LossOn = "answer",
) -> Example:
    """MLE with harmful-response prefix: the loss of the refusal behind the first tokens of h.

    opening: what stands between q and h, such as the respond token; it has no loss, nor has h.
    prefix: the first k tokens of h. It is cut from its end where the refusal would not fit; a
    refusal that is too long by itself is cut from its end.
    refusal: the transition token, if there is one, then r and the end of the turn.
    Returns both lists with len(prompt) + len(opening) + k + len(refusal) entries, or max_length.
    Raises PromptTooLongError if not one token of the refusal fits.
    """
    room = max_length - len(prompt) - len(opening)
    if room < 1:
        raise PromptTooLongError(
            f"the prompt has {len(prompt)} tokens: no room for a refusal in {max_length}"
        )
    before = [*opening, *prefix[: max(room - len(refusal), 0)]]
    learnt = list(refusal[: max_length - len(prompt) - len(before)])
    return Example(
        [*prompt, *before, *learnt],
        [*_of_prompt(prompt, loss_on), *([IGNORED] * len(before)), *learnt],
    )


def rto_layout(
    prompt: Sequence[int],
    opening: Sequence[int],
    harmful: Sequence[int],
    decision: int | None,
    transition: int,
    max_length: int,
    positions: Collection[int] | None = None,
    loss_on: LossOn = "answer",
) -> Example:
    """Reinforced transition optimisation: a refusal label at the positions of h.

    The label at position t of h is predicted from q, the opening and h before t.

    opening: what stands between q and h, such as the respond token; without labels but the first.
    harmful: h and the end of its turn; what does not fit is cut from the end.
    decision: label of the answer's first position, whatever stands there; None to treat it like
    the others, as the paper does.
    transition: label of the other positions.
    positions: places in `harmful` that carry it, from 0; None for all.
    Returns both lists with len(prompt) + len(opening) + len(harmful) entries, or max_length.
    Raises PromptTooLongError if no label fits, and ValueError if there is none to begin with.
    """
    answer = [*opening, *harmful]
    labels = [IGNORED] * len(opening) + [
        transition if positions is None or place in positions else IGNORED
        for place in range(len(harmful))
    ]
    if decision is not None and labels:
        labels[0] = decision
    room = max(max_length - len(prompt), 0)
    if not any(label != IGNORED for label in labels[:room]):
        # No position is drawn where there is no room for one.
        if room < len(answer):
            raise PromptTooLongError(
                f"the prompt has {len(prompt)} tokens: no room for a refusal in {max_length}"
            )
        raise ValueError("the harmful answer has no position to refuse at")
    return Example([*prompt, *answer[:room]], [*_of_prompt(prompt, loss_on), *labels[:room]])


def draw_prefix_length(rng: random.Random, length: int, room: int, methods: MethodsConfig) -> int:
    """The k of one triple: 0 for a share of them, else uniform between the methods' bounds.

    length: tokens of h. room: tokens that may stand before the refusal.
    An answer shorter than the lower bound is taken whole.
    """
    if rng.random() < methods.no_prefix_share:
        return 0
    most = length if methods.prefix_max == "all" else methods.prefix_max
    most = max(min(most, length, room), 0)
    return rng.randint(min(methods.prefix_min, most), most)


def draw_positions(
    rng: random.Random, length: int, methods: MethodsConfig
) -> frozenset[int] | None:
    """Places in an answer of `length` tokens that carry an RTO label; None for all of them."""
    wanted = methods.rto_positions
    if wanted == "all":
        return None
    count = max(round(wanted * length), 1) if wanted < 1 else round(wanted)
    return frozenset(rng.sample(range(length), min(count, length)))


def _of_prompt(prompt: Sequence[int], loss_on: LossOn) -> list[int]:
    return list(prompt) if loss_on == "all" else [IGNORED] * len(prompt)
