"""What a model in training is measured by, on held-out examples."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import roc_auc_score
from transformers import PreTrainedModel

from steering.gate import log_odds
from training.examples import Decision, HeldOut
from training.scoring import batches, next_token_logits

Floats = npt.NDArray[np.float64]


def measure_decisions(
    model: PreTrainedModel, held_out: HeldOut, batch_size: int
) -> dict[str, float]:
    """How well the model chooses its first token; nothing where it has no control tokens.

    `control_token_accuracy`: share of the prompts whose most probable first token, of the whole
    vocabulary, is the right one; where no token is right, any but a refuse token.
    `auc`: area under the ROC curve of telling refused prompts from harmless ones by the
    probability of any refuse token. `auc_NAME`: the same for one category's prompts and token.
    """
    decisions = held_out.decisions
    if not decisions:
        return {}
    refuse_ids = torch.tensor(held_out.refuse_ids, device=model.device)
    categories = len(held_out.refuse_ids)
    scores = np.empty((len(decisions), categories + 1))
    chosen = np.empty(len(decisions), dtype=np.int64)
    prompts = [decision.prompt for decision in decisions]
    with torch.no_grad():
        for rows in batches(prompts, batch_size):
            logits = next_token_logits(model, [prompts[row] for row in rows])
            chosen[rows] = logits.argmax(dim=-1).cpu().numpy()
            scores[rows, categories] = any_log_odds(logits, refuse_ids).cpu().numpy()
            # Last, since it overwrites the logits.
            scores[rows, :categories] = log_odds(logits, refuse_ids).cpu().numpy()
    right = [
        _is_right(token, decision, held_out.refuse_ids)
        for token, decision in zip(chosen.tolist(), decisions, strict=True)
    ]
    labels = np.array([-1 if d.category is None else d.category for d in decisions])
    return {
        "control_token_accuracy": float(np.mean(right)),
        **areas(scores, labels, held_out.categories),
    }


def any_log_odds(logits: torch.Tensor, refuse_ids: torch.Tensor) -> torch.Tensor:
    """Log-odds that the token is any of `refuse_ids`: [n, V] and [C] give [n] float32."""
    others = logits.float().index_fill(1, refuse_ids, -torch.inf)
    return logits[:, refuse_ids].float().logsumexp(dim=1) - others.logsumexp(dim=1)


def areas(
    scores: Floats, labels: npt.NDArray[np.int64], categories: Sequence[str]
) -> dict[str, float]:
    """Areas under the ROC curves, left out where one side has no prompt or a score is no number.

    scores: [n, C + 1], per category, and last of any refusal. labels: [n], the category's place or
    -1 for a harmless prompt.
    """
    found: dict[str, float] = {}
    sides = {"auc": labels >= 0} | {
        f"auc_{name}": labels == place for place, name in enumerate(categories)
    }
    for (name, refused), column in zip(sides.items(), (-1, *range(len(categories))), strict=True):
        kept = refused | (labels < 0)
        finite = np.isfinite(scores[kept, column]).all()
        if finite and refused.any() and not refused[kept].all():
            found[name] = float(roc_auc_score(refused[kept], scores[kept, column]))
    return found


def mean_losses(sums: Mapping[str, float], counts: Mapping[str, int]) -> dict[str, float]:
    """Mean loss per label: `loss` over all kinds, and `loss_KIND`.

    sums: summed negative log-likelihood by kind. counts: number of labels by kind; a kind without
    any is left out.
    """
    by_kind = {f"loss_{kind}": total / counts[kind] for kind, total in sums.items() if counts[kind]}
    return {"loss": sum(sums.values()) / max(sum(counts.values()), 1), **by_kind}


def _is_right(token: int, decision: Decision, refuse_ids: Sequence[int]) -> bool:
    return token not in refuse_ids if decision.token is None else token == decision.token
