"""What training minimises beyond the plain mean over labels, as functions of logits and labels.

With D the labels that decide (without a respond token -log(1 - p) of all refuse tokens stands for
that of a harmless prompt's label), A all other labels and K the positions of the base's own
answers,

    loss =  w/|D| sum over D of -log p(label)  +  1/|A| sum over A of -log p(label)
            +  k/|K| sum over K of KL(base || model).

The plain mean lets one decision drown among the hundred labels of its answer; with w = 0 it is what
is taken: D is empty then, and A has every label. The divergence is of the distributions that
answers are drawn from, over all tokens but the control tokens. Each sum is divided
by the number of its labels in the whole optimiser step, over all of its batches and processes, so
that how they are shared out does not matter. Logits and labels are aligned: the logits at a place
predict the label at the same place.
"""

from dataclasses import dataclass

import torch

from training.encoding import IGNORED, NOT_REFUSED

OTHER = -1
"""In `kept`: a position at which the base's distribution is not known."""


@dataclass(frozen=True)
class Top:
    """The base's likeliest tokens at positions of its own answers."""

    ids: torch.Tensor
    """[N, K] int64."""
    logprobs: torch.Tensor
    """[N, K] float32, normalised over the vocabulary without control tokens."""


@dataclass(frozen=True)
class Objective:
    """The loss of the module's text."""

    control: tuple[int, ...]
    """Ids of the control tokens."""
    decision_weight: float
    keep_base: float
    top: Top | None = None
    """What `kept` counts in; None where `keep_base` is 0."""

    def counts(self, labels: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
        """[3] int64: |D|, |A| and |K| of aligned labels and kept positions, of any shape."""
        deciding = self._deciding(labels)
        others = (labels != IGNORED) & ~deciding
        known = deciding.new_zeros(()) if kept is None else kept != OTHER
        return torch.stack([deciding.sum(), others.sum(), known.sum()])

    def loss(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        kept: torch.Tensor | None,
        counts: torch.Tensor,
    ) -> torch.Tensor:
        """The part of the loss that one batch has.

        logits: [B, T, V]; labels, kept: [B, T] int64; counts: as `counts` gives them, of the whole
        optimiser step.
        """
        deciding = self._deciding(labels)
        learnt = labels != IGNORED
        weights = torch.where(deciding, self.decision_weight, 1.0) / torch.where(
            deciding, counts[0], counts[1]
        ).clamp(min=1)
        loss = (self._nll(logits[learnt], labels[learnt]) * weights[learnt]).sum()
        if kept is None or self.top is None:
            return loss
        known = kept != OTHER
        at = kept[known].to(self.top.ids.device)
        top = [each[at].to(logits.device) for each in (self.top.ids, self.top.logprobs)]
        control = torch.tensor(self.control, dtype=torch.int64, device=logits.device)
        apart = divergence(logits[known].index_fill(1, control, -torch.inf), *top)
        return loss + self.keep_base * apart.sum() / counts[2].clamp(min=1)

    def _nll(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        chosen = nll(logits, labels.clamp(min=0))
        none = labels == NOT_REFUSED
        return (
            torch.where(none, nll_of_none(logits, self.control), chosen) if none.any() else chosen
        )

    def _deciding(self, labels: torch.Tensor) -> torch.Tensor:
        if not self.decision_weight:
            return torch.zeros_like(labels, dtype=torch.bool)
        return decisions(labels, self.control)


def nll_of_none(logits: torch.Tensor, control: tuple[int, ...]) -> torch.Tensor:
    """-log(1 - p), [m] float32, with p the probability of any control token; logits: [m, V]."""
    every = logits.float()
    among = torch.tensor(control, device=logits.device)
    others = every.index_fill(1, among, -torch.inf).logsumexp(dim=1)
    return torch.nn.functional.softplus(every[:, among].logsumexp(dim=1) - others)


def decisions(labels: torch.Tensor, control: tuple[int, ...]) -> torch.Tensor:
    """Where a control token is to be chosen, or none: the first of each run of control labels.

    labels: [B, T] int64. Returns [B, T] bool. The later labels of a run are RTO's (DeRTa, arXiv
    2407.09121), whose hundred labels would otherwise outweigh a batch's decisions. Where
    `methods.rto_positions` draws some of them, each that stands apart is a decision.
    """
    is_control = torch.isin(labels, torch.tensor(control, device=labels.device))
    before = torch.zeros_like(is_control)
    before[:, 1:] = is_control[:, :-1]
    return (is_control & ~before) | (labels == NOT_REFUSED)


def nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log p(label), [m] float32, of logits [m, V] and labels [m]."""
    return torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none")


def divergence(logits: torch.Tensor, ids: torch.Tensor, logprobs: torch.Tensor) -> torch.Tensor:
    """KL(base || model) of the distributions over K tokens and all others together, [m] float32.

    sum over j of q_j (log q_j - log p_j), with j the K tokens and the rest as one: a lower bound of
    the divergence over the whole vocabulary (the data processing inequality), tight where the K
    likeliest tokens have nearly all of the base's mass.

    logits: [m, V] the model's; ids: [m, K]; logprobs: [m, K] the base's.
    """
    model = logits.float().log_softmax(dim=1).gather(1, ids)
    base_all, model_all = (_with_rest(each) for each in (logprobs, model))
    return (base_all.exp() * (base_all - model_all)).sum(dim=1)


def _with_rest(logprobs: torch.Tensor) -> torch.Tensor:
    """[m, K + 1]: log of the remaining probability as a last column; at least 1e-6 of it."""
    rest = (1 - logprobs.exp().sum(dim=1, keepdim=True)).clamp(min=1e-6).log()
    return torch.cat([logprobs, rest], dim=1)
