"""The gate's arithmetic: from logits to scores, from scores and thresholds to a decision.

The score of category c at a deciding position is the log-odds of its refuse token,

    s_c = log p_c - log(1 - p_c) = z_c - logsumexp over j != c of z_j,

over the whole vocabulary (Refusal Tokens, arXiv 2412.06748, thresholds p_c itself). Log-odds
keep apart scores whose probabilities round to 0 or 1 in float32.

A prompt is refused when some s_c reaches its threshold t_c, under the name of the category with
the largest score among those that do; of equal scores the earlier category's. t_c = +inf switches
a category off, t_c = -inf refuses everything. A refuse token whose logit is NaN or -inf has been
tampered with on its way here: unless its category is off, that refuses too.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from steering.rows import leave_only, logsumexp
from steering.tokens import ControlTokens

RESPOND = -1
"""The decision to answer; every other decision is the index of a category."""


def log_odds(logits: torch.Tensor, refuse_ids: torch.Tensor) -> torch.Tensor:
    """Scores of every category, computed without cancellation.

    logits: [n, V] float, overwritten (the refuse tokens' columns become -inf).
    refuse_ids: [C] int64, ids of the refuse tokens.
    Returns [n, C] float32; NaN where a refuse token's logit is NaN or -inf.
    """
    own = logits[:, refuse_ids].float()  # [n, C]
    logits.index_fill_(1, refuse_ids, -torch.inf)
    rest = torch.logsumexp(logits.float(), dim=1, keepdim=True)
    diagonal = _diagonal(own.shape[1], 1, logits.device)
    return _against_others(torch.cat([own, rest], dim=1), diagonal)


def _diagonal(categories: int, others: int, device: torch.device) -> torch.Tensor:
    """[C, C + others] bool: True where a category's own refuse token is."""
    return torch.eye(categories, categories + others, dtype=torch.bool, device=device)


def _against_others(values: torch.Tensor, diagonal: torch.Tensor) -> torch.Tensor:
    """Scores from the refuse tokens' logits and what else there is.

    values: [n, C + m] float32, the refuse tokens' first; the logsumexp of the others is that of all
    other tokens. diagonal: [C, C + m] as `_diagonal` returns it.
    """
    # [n, C, C + m]: row c holds every logit but its own.
    grid = values.unsqueeze(1).masked_fill(diagonal, -torch.inf)
    own = values[:, : len(diagonal)]
    return torch.where(own == -torch.inf, torch.nan, own - grid.logsumexp(dim=2))


def decide(scores: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """Decisions by row, without reading anything back from the device.

    scores, thresholds: [n, C] float32. Returns [n] int64: a category's index, or RESPOND.
    """
    # NaN outranks every score: a category that cannot be judged refuses. Finite, it stays under the
    # threshold that is off, and -inf above what has not reached its threshold, which may be -inf.
    ranked = torch.nan_to_num(scores, nan=torch.finfo(scores.dtype).max)
    reached = ranked >= thresholds
    # Of equal ones torch has the first index, on every device.
    best, first = torch.where(reached, ranked, -torch.inf).max(dim=1)
    return torch.where(best > -torch.inf, first, RESPOND)


def targets_of(
    decisions: torch.Tensor, first: torch.Tensor | None, choice_ids: torch.Tensor
) -> torch.Tensor:
    """The control token that each row must write.

    decisions: [n] int64 as `decide` returns them; first: [n] bool, whether the row is at the first
    position of its answer, where RESPOND means the respond token; later it means to go on. None
    where all rows are.
    choice_ids: [C + 1] int64, the refuse tokens' ids and, last, the respond token's, or -1 where
    the checkpoint has none.
    Returns [n] int64, -1 for a row that goes on as the model likes.
    """
    chosen = choice_ids[decisions]  # RESPOND picks the last
    return chosen if first is None else torch.where((decisions == RESPOND) & ~first, -1, chosen)


@dataclass(frozen=True)
class ControlIds:
    """A checkpoint's control tokens on the device of the logits."""

    refuse: torch.Tensor
    """[C] int64, in the manifest's order."""
    every: torch.Tensor
    """[C + 1] int64: refuse, then respond; [C] where there is no respond token."""
    choices: torch.Tensor
    """[C + 1] int64, as `targets_of` takes them."""
    diagonal: torch.Tensor
    """[C, len(every) + 1] bool: where, of `every` and all other tokens, a category's own is."""
    block: slice | None
    """`every` as columns side by side, if they are."""

    @classmethod
    def on(cls, device: torch.device, control: ControlTokens) -> Self:
        """Copy `control` to `device`."""
        respond = () if control.respond is None else (control.respond,)
        all_ids = (*control.refuse, *respond)
        refuse, every, choices = (
            torch.tensor(ids, dtype=torch.int64, device=device)
            for ids in (control.refuse, all_ids, all_ids if respond else (*all_ids, -1))
        )
        first, end = min(all_ids), max(all_ids) + 1
        block = slice(first, end) if end - first == len(all_ids) else None
        diagonal = _diagonal(len(refuse), len(all_ids) + 1 - len(refuse), device)
        return cls(refuse, every, choices, diagonal, block)


def mask_control(logits: torch.Tensor, ids: ControlIds) -> None:
    """Take every control token out of the sampler's reach. logits: [n, V], changed in place."""
    if ids.block is None:
        logits.index_fill_(1, ids.every, -torch.inf)
    else:
        logits[:, ids.block].fill_(-torch.inf)


@dataclass(frozen=True)
class Bias:
    """What vLLM has added to the logits of requests that bring a logit bias.

    A bias on other tokens than the control tokens would move their log-odds all the same, so the
    gate decides without it.
    """

    owners: torch.Tensor
    """[m] int64, whose bias it is: as in the `owners` of the rows."""
    tokens: torch.Tensor
    """[m] int64 token ids."""
    values: torch.Tensor
    """[m] float32, what was added."""

    def undo(self, logits: torch.Tensor, owners: torch.Tensor) -> None:
        """Take it back from `logits` ([n, V]), in place; owners: [n] int64, whose each row is."""
        own = owners.unsqueeze(1) == self.owners  # [n, m]
        logits.index_add_(1, self.tokens, torch.where(own, -self.values, 0.0))


def apply_gate(
    logits: torch.Tensor,
    rows: torch.Tensor,
    thresholds: torch.Tensor,
    first: torch.Tensor | None,
    ids: ControlIds,
    bias: tuple[Bias, torch.Tensor] | None = None,
) -> None:
    """Decide some rows of the logits, and mask control tokens in all the others.

    A deciding row is read once; one that is forced is written once.

    logits: [N, V] float32, changed in place; rows: [n] int64; thresholds: [n, C] float32;
    first: [n] bool or None, as `targets_of` takes it; bias: what to undo, and the rows' owners
    [n] int64. Nothing is read back from the device.
    """
    judged, at = logits, rows
    if bias is not None:
        undone, owners = bias
        judged, at = logits.index_select(0, rows), torch.arange(len(rows), device=rows.device)
        undone.undo(judged, owners)
    own = judged[at.unsqueeze(1), ids.every].float()  # [n, C + 1] or [n, C]
    mask_control(logits, ids)
    if judged is not logits:
        mask_control(judged, ids)
    rest = logsumexp(judged, at).unsqueeze(1)
    scores = _against_others(torch.cat([own, rest], dim=1), ids.diagonal)
    leave_only(logits, rows, targets_of(decide(scores, thresholds), first, ids.choices))


def decide_np(
    scores: npt.NDArray[np.float32], thresholds: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """`decide` for scores on the host. scores: [n, C]; thresholds: [C] or [n, C]."""
    rows = np.broadcast_to(thresholds, scores.shape)
    decided = decide(
        torch.from_numpy(np.array(scores, dtype=np.float32)),
        torch.from_numpy(np.array(rows, dtype=np.float32)),
    )
    return np.asarray(decided.numpy(), dtype=np.int64)
