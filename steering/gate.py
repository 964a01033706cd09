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
from typing import Any, Generic

import numpy as np
import numpy.typing as npt
import torch

from steering import arrays
from steering.arrays import LARGEST, Array, library
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
    categories = own.shape[1]
    diagonal = torch.eye(categories, categories + 1, dtype=torch.bool, device=logits.device)
    return _against_others(torch.cat([own, rest], dim=1), diagonal)


def _against_others(values: Array, diagonal: Array) -> Array:
    """Scores from the refuse tokens' logits and what else there is.

    values: [n, C + m] float32, the refuse tokens' first; the logsumexp of the others is that of all
    other tokens. diagonal: [C, C + m] bool, True where a category's own refuse token is.
    """
    where = library(values).where
    # [n, C, C + m]: row c holds every logit but its own.
    grid: Array = where(diagonal, -torch.inf, values[:, None])
    own = values[:, : len(diagonal)]
    scores: Array = where(own == -torch.inf, torch.nan, own - arrays.logsumexp(grid))
    return scores


def decide(scores: Array, thresholds: Array) -> Array:
    """Decisions by row, without reading anything back from the device.

    scores: [n, C] float32; thresholds: [n, C] or [C] float32. Returns [n] int64: a category's
    index, or RESPOND.
    """
    xp = library(scores)
    # NaN outranks every score: a category that cannot be judged refuses. Finite, it stays under the
    # threshold that is off, and -inf above what has not reached its threshold, which may be -inf.
    ranked = xp.where(xp.isnan(scores), LARGEST, scores).clip(-LARGEST, LARGEST)
    reached = ranked >= thresholds
    # Of equal ones both libraries have the first index.
    first = xp.where(reached, ranked, -torch.inf).argmax(axis=1)
    decisions: Array = xp.where(reached.any(axis=1), first, RESPOND)
    return decisions


def targets_of(decisions: Array, first: Array | None, choice_ids: Array) -> Array:
    """The control token that each row must write.

    decisions: [n] int64 as `decide` returns them; first: [n] bool, whether the row is at the first
    position of its answer, where RESPOND means the respond token; later it means to go on. None
    where all rows are.
    choice_ids: [C + 1] int64, the refuse tokens' ids and, last, the respond token's, or -1 where
    the checkpoint has none.
    Returns [n] int64, -1 for a row that goes on as the model likes.
    """
    targets: Array = choice_ids[decisions]  # RESPOND picks the last
    if first is not None:
        targets = library(targets).where((decisions == RESPOND) & ~first, -1, targets)
    return targets


@dataclass(frozen=True)
class ControlIds(Generic[Array]):
    """A checkpoint's control tokens, where the logits are."""

    refuse: Array
    """[C] int64, in the manifest's order."""
    every: Array
    """[C + 1] int64: refuse, then respond; [C] where there is no respond token."""
    choices: Array
    """[C + 1] int64, as `targets_of` takes them."""
    diagonal: Array
    """[C, len(every) + 1] bool: where, of `every` and all other tokens, a category's own is."""
    columns: slice | Array
    """`every`; a slice where they are side by side."""

    @classmethod
    def on_host(cls, control: ControlTokens) -> "ControlIds[npt.NDArray[Any]]":
        """For logits that are NumPy's."""
        respond: tuple[int, ...] = () if control.respond is None else (control.respond,)
        ids: tuple[int, ...] = (*control.refuse, *respond)
        every = np.array(ids, dtype=np.int64)
        side_by_side = max(ids) - min(ids) + 1 == len(ids)
        return ControlIds(
            np.array(control.refuse, dtype=np.int64),
            every,
            np.array(ids if respond else (*ids, -1), dtype=np.int64),
            np.eye(len(control.refuse), len(ids) + 1, dtype=np.bool_),
            slice(min(ids), max(ids) + 1) if side_by_side else every,
        )

    @classmethod
    def on(cls, device: torch.device, control: ControlTokens) -> "ControlIds[torch.Tensor]":
        """For logits that are torch's, on `device`."""
        host = cls.on_host(control)
        refuse, every, choices, diagonal = (
            torch.from_numpy(array).to(device)
            for array in (host.refuse, host.every, host.choices, host.diagonal)
        )
        columns = host.columns if isinstance(host.columns, slice) else every
        return ControlIds(refuse, every, choices, diagonal, columns)


def mask_control(logits: Array, ids: ControlIds[Array]) -> None:
    """Take every control token out of the sampler's reach. logits: [n, V], changed in place."""
    arrays.fill_columns(logits, ids.columns, -torch.inf)


@dataclass(frozen=True)
class Bias(Generic[Array]):
    """What vLLM has added to the logits of requests that bring a logit bias.

    A bias on other tokens than the control tokens would move their log-odds all the same, so the
    gate decides without it.
    """

    owners: Array
    """[m] int64, whose bias it is: as in the `owners` of the rows."""
    tokens: Array
    """[m] int64 token ids."""
    values: Array
    """[m] float32, what was added."""

    def undo(self, logits: Array, owners: Array) -> None:
        """Take it back from `logits` ([n, V]), in place; owners: [n] int64, whose each row is."""
        own = owners[:, None] == self.owners  # [n, m]
        arrays.add_to_columns(logits, self.tokens, library(logits).where(own, -self.values, 0.0))


@np.errstate(all="ignore")
def apply_gate(
    logits: Array,
    rows: Array,
    thresholds: Array,
    first: Array | None,
    ids: ControlIds[Array],
    bias: tuple[Bias[Array], Array] | None = None,
) -> None:
    """Decide some rows of the logits, and mask control tokens in all the others.

    A deciding row is read once; one that is forced is written once.

    logits: [N, V] float32, changed in place; rows: [n] int64; thresholds: [n, C] float32;
    first: [n] bool or None, as `targets_of` takes it; bias: what to undo, and the rows' owners
    [n] int64. Nothing is read back from the device.
    """
    xp = library(logits)
    judged, at = logits, rows
    if bias is not None:
        undone, owners = bias
        judged, at = logits[rows], xp.arange(len(rows), device=rows.device)
        undone.undo(judged, owners)
    own = judged[at[:, None], ids.every]  # [n, C + 1] or [n, C]
    mask_control(logits, ids)
    if judged is not logits:
        mask_control(judged, ids)
    values = xp.concatenate([own, logsumexp(judged, at)[:, None]], axis=1)
    scores = _against_others(values, ids.diagonal)
    leave_only(logits, rows, targets_of(decide(scores, thresholds), first, ids.choices))
