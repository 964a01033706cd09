"""Passes over whole rows of logits, each of which reads or writes a row once.

On a GPU by `steering.kernels`. Elsewhere by eager torch: what reads a row again finds it in the
cache, because a few rows at a time are worked on.
"""

from importlib.util import find_spec

import torch

CACHED = 2**19
"""Bytes of logits that are worked on at a time; they stay in a core's cache."""
_HAS_TRITON = find_spec("triton") is not None


def logsumexp(logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The logarithm of a row's sum of exponentials.

    logits: [N, V] float, rows contiguous; rows: [n] int64. Returns [n] float32: NaN where a row
    holds a NaN, -inf where all of it is -inf.
    """
    if _by_kernel(logits):
        from steering import kernels

        return kernels.logsumexp(logits, rows)
    at_a_time = max(1, CACHED // (4 * logits.shape[1]))
    parts = (logits.index_select(0, part).float() for part in torch.split(rows, at_a_time))
    return torch.cat([torch.logsumexp(part, dim=1) for part in parts])


def leave_only(logits: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor) -> None:
    """Leave a row no finite logit but its target's, which becomes 0.

    logits: [N, V] float, rows contiguous, changed in place; rows: [n] int64; targets: [n] int64
    columns, below 0 for a row that is left as it is.
    """
    if _by_kernel(logits):
        from steering import kernels

        kernels.leave_only(logits, rows, targets)
        return
    forced = targets >= 0
    left = rows[forced]
    logits.index_fill_(0, left, -torch.inf)
    logits[left, targets[forced]] = 0.0


def _by_kernel(logits: torch.Tensor) -> bool:
    return logits.is_cuda and _HAS_TRITON
