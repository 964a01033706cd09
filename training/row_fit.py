"""The rows of control tokens, fitted on a frozen model: convex where its logits are w . h.

Of n decisions, h_i is the last hidden state, o_i the logsumexp of the base's own logits and y_i the
control token that should be chosen, or none. With a row w_c for each control token,

    z_ic = g(w_c . h_i),    loss = sum_i a_i (logsumexp(o_i, z_i) - z_iy) / sum_i a_i

is the loss of Refusal Tokens (arXiv 2412.06748, sec. 3) at the deciding position, as a function of
those rows alone: multinomial logistic regression with an offset. (Where none is to be chosen, o_i
stands for z_iy.) Added is a penalty l2/2 |u|^2, where

    w_c = u_c / r + b_c v,    v . h_i nearly 1 for all i,    r^2 the mean square of h's entries:

the constant part of a logit is not penalised, and l2 means the same for every model.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, lsmr
from scipy.special import logsumexp
from sklearn.model_selection import StratifiedGroupKFold

from training.output_head import OutputHead
from training.progress import Progress
from training.states import Floats32

CHUNK = 2048
"""Decisions whose states are in float64 at a time."""
PENALTIES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
"""Among which cross-validation chooses; the strongest first: each fit starts from the last."""
FOLDS = 5
NONE = -1
"""Label of a decision at which no control token is to be chosen."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decisions:
    """What is fitted on."""

    hidden: Floats32
    """[n, D], may be a memory map."""
    offset: Floats32
    """[n]"""
    labels: Ints
    """[n] index of a control token, or NONE."""
    weights: Floats
    """[n] the a_i of the module's text."""
    groups: Ints
    """[n] decisions of one conversation share a number: cross-validation keeps them together."""

    def chunks(self) -> Iterator[slice]:
        """Slices that a few decisions at a time are read by."""
        for start in range(0, len(self.labels), CHUNK):
            yield slice(start, start + CHUNK)

    def only(self, places: Ints) -> "Decisions":
        """Some of the decisions; their states are copied."""
        return Decisions(
            self.hidden[places],
            self.offset[places],
            self.labels[places],
            self.weights[places],
            self.groups[places],
        )


@dataclass(frozen=True)
class Basis:
    """How parameters and rows belong together."""

    constant: Floats
    """[D], the v of the module's text."""
    scale: float
    """The r of the module's text."""

    @classmethod
    def of(cls, decisions: Decisions) -> "Basis":
        """The least-squares v of `decisions`."""
        n, width = decisions.hidden.shape
        squares = sum(
            float(np.square(decisions.hidden[at], dtype=np.float64).sum())
            for at in decisions.chunks()
        )
        scale = float(np.sqrt(squares / (n * width))) or 1.0

        def times(vector: Floats) -> Floats:
            return np.concatenate([decisions.hidden[at] @ vector for at in decisions.chunks()])

        def back(vector: Floats) -> Floats:
            parts = (vector[at] @ decisions.hidden[at] for at in decisions.chunks())
            return sum(parts, np.zeros(width))

        states = LinearOperator((n, width), matvec=times, rmatvec=back, dtype=np.float64)
        found = lsmr(states, np.ones(n), damp=1e-2 * scale * np.sqrt(n), maxiter=100)[0]
        return cls(found, scale)

    def rows(self, parameters: Floats) -> Floats:
        """[C, D + 1] parameters (u, then b) as [C, D] rows."""
        return parameters[:, :-1] / self.scale + parameters[:, -1:] * self.constant


def fit_rows(
    decisions: Decisions, classes: int, head: OutputHead, l2: float | None = None
) -> tuple[Floats, float]:
    """[classes, D] rows, and the penalty; None chooses that by cross-validation.

    The optimum is found by scipy's L-BFGS.
    """
    basis = Basis.of(decisions)
    if l2 is None:
        l2 = cross_validate(decisions, classes, head, basis)
    parameters = start_of(decisions, classes, head)
    for each in (each for each in PENALTIES if each > l2):
        parameters = optimum(decisions, head, basis, each, parameters, precise=False)
    return basis.rows(optimum(decisions, head, basis, l2, parameters)), l2


def cross_validate(decisions: Decisions, classes: int, head: OutputHead, basis: Basis) -> float:
    """The penalty with the lowest loss on decisions that were left out."""
    # The decisions of one conversation come into one fold, however many they are.
    conversations = np.unique(np.stack([decisions.labels, decisions.groups]), axis=1)[0]
    rarest = np.bincount(conversations - NONE)
    folds = int(min(FOLDS, rarest[rarest > 0].min()))
    if folds < 2:
        logger.info("Too few decisions of a kind to cross-validate: penalty %g.", PENALTIES[2])
        return PENALTIES[2]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    losses = np.zeros(len(PENALTIES))
    places = splitter.split(decisions.labels, decisions.labels, decisions.groups)
    with Progress("cross-validating", folds * len(PENALTIES), unit="fit") as progress:
        for kept, left_out in places:
            train, held = decisions.only(kept), decisions.only(left_out)
            parameters = start_of(train, classes, head)
            for at, l2 in enumerate(PENALTIES):
                parameters = optimum(train, head, basis, l2, parameters, precise=False)
                losses[at] += loss_of(basis.rows(parameters), held, head)
                progress.advance()
    found = PENALTIES[int(losses.argmin())]
    logger.info("Cross-validation: penalty %g, held-out loss %.4f.", found, losses.min() / folds)
    return found


def start_of(decisions: Decisions, classes: int, head: OutputHead) -> Floats:
    """[classes, D + 1] parameters under which each token is about as likely as its labels are."""
    total = decisions.weights.sum()
    shares = np.array(
        [decisions.weights[decisions.labels == each].sum() / total for each in range(classes)]
    )
    others = max(1 - shares.sum(), 1e-3)
    logits = np.median(decisions.offset) + np.log(np.maximum(shares, 1e-3) / others)
    parameters = np.zeros((classes, decisions.hidden.shape[1] + 1))
    parameters[:, -1] = head.inverse(logits)
    return parameters


def optimum(
    decisions: Decisions,
    head: OutputHead,
    basis: Basis,
    l2: float,
    start: Floats,
    *,
    precise: bool = True,
) -> Floats:
    """The parameters [C, D + 1] of least penalised loss, searched from `start`."""

    def objective(flat: Floats) -> tuple[float, Floats]:
        parameters = flat.reshape(start.shape)
        loss, by_row = loss_and_gradient(basis.rows(parameters), decisions, head)
        free = parameters[:, :-1]
        gradient = np.concatenate(
            [by_row / basis.scale + l2 * free, by_row @ basis.constant[:, None]], axis=1
        )
        return loss + l2 / 2 * float(np.square(free).sum()), gradient.ravel()

    tight = {"maxiter": 1000, "ftol": 1e-11, "gtol": 1e-7}
    loose = {"maxiter": 100, "ftol": 1e-7, "gtol": 1e-4}
    found = minimize(
        objective, start.ravel(), jac=True, method="L-BFGS-B", options=tight if precise else loose
    )
    return np.asarray(found.x).reshape(start.shape)


def loss_of(rows: Floats, decisions: Decisions, head: OutputHead) -> float:
    """The loss of the module's text, without the penalty."""
    return loss_and_gradient(rows, decisions, head)[0]


def loss_and_gradient(rows: Floats, decisions: Decisions, head: OutputHead) -> tuple[float, Floats]:
    """The loss of [C, D] rows, and its gradient of the same shape."""
    total = decisions.weights.sum()
    loss, gradient = 0.0, np.zeros_like(rows)
    for at in decisions.chunks():
        hidden = decisions.hidden[at].astype(np.float64)
        labels, weights = decisions.labels[at], decisions.weights[at] / total
        logits = head.logits(hidden @ rows.T)
        # The last column stands for all other tokens, which NONE picks.
        every = np.concatenate([logits, decisions.offset[at, None].astype(np.float64)], axis=1)
        whole = logsumexp(every, axis=1, keepdims=True)
        chosen = np.take_along_axis(every, (labels % every.shape[1])[:, None], axis=1)
        loss += float((weights * (whole - chosen)[:, 0]).sum())
        errors = np.exp(logits - whole)
        picked = labels != NONE
        errors[picked, labels[picked]] -= 1
        gradient += (errors * weights[:, None] * head.slope(logits)).T @ hidden
    return loss, gradient
