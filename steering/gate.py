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

import numpy as np
import numpy.typing as npt
import torch

RESPOND = -1
"""The decision to answer; every other decision is the index of a category."""


def log_odds(logits: torch.Tensor, refuse_ids: torch.Tensor) -> torch.Tensor:
    """Scores of every category, computed without cancellation.

    logits: [n, V] float; read once and overwritten (the refuse tokens' columns become -inf).
    refuse_ids: [C] int64, ids of the refuse tokens.
    Returns [n, C] float32; NaN where a refuse token's logit is NaN or -inf.
    """
    own = logits[:, refuse_ids].float()  # [n, C]
    logits.index_fill_(1, refuse_ids, -torch.inf)
    others = torch.logsumexp(logits.float(), dim=1, keepdim=True)  # [n, 1]
    if own.shape[1] > 1:
        # [n, C, C]: row c holds every refuse token's logit but its own.
        grid = own.unsqueeze(1).expand(-1, own.shape[1], -1)
        diagonal = torch.eye(own.shape[1], dtype=torch.bool, device=own.device)
        among = torch.logsumexp(grid.masked_fill(diagonal, -torch.inf), dim=2)  # [n, C]
        others = torch.logaddexp(among, others)
    return torch.where(own == -torch.inf, torch.nan, own - others)


def decide(scores: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """Decisions by row, without reading anything back from the device.

    scores, thresholds: [n, C] float32. Returns [n] int64: a category's index, or RESPOND.
    """
    # NaN outranks every score: a category that cannot be judged refuses.
    ranked = torch.where(torch.isnan(scores), torch.inf, scores)
    reached = (thresholds < torch.inf) & (ranked >= thresholds)
    # A score of -inf under a threshold of -inf is reached: keep it above those that are not.
    lowest = torch.finfo(ranked.dtype).min
    rank = torch.where(reached, ranked.clamp(min=lowest), -torch.inf)
    # The first index that holds the maximum, on every device: argmax promises no order for ties.
    index = torch.arange(scores.shape[1], device=scores.device)
    best = rank == rank.amax(dim=1, keepdim=True)
    first = torch.where(best, index, scores.shape[1]).amin(dim=1)
    return torch.where(reached.any(dim=1), first, RESPOND)


def force(logits: torch.Tensor, decisions: torch.Tensor, choice_ids: torch.Tensor) -> torch.Tensor:
    """Logits that leave the sampler no choice but the decided control token.

    logits: [n, V], with every control token's column at -inf already; decisions: [n] int64 as
    `decide` returns them; choice_ids: [C + 1] int64, the refuse tokens' ids and, last, the respond
    token's, or -1 where the checkpoint has none: an answer then goes on as the model likes.
    Returns [n, V].
    """
    targets = choice_ids[decisions].unsqueeze(1)  # [n, 1]; RESPOND picks the last
    one_hot = torch.full_like(logits, -torch.inf).scatter_(1, targets.clamp(min=0), 0.0)
    return torch.where(targets >= 0, one_hot, logits)


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
