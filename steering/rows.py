"""Passes over whole rows of logits, each of which reads or writes a row once.

On a GPU by `steering.kernels`. Elsewhere in several steps: what reads a row again finds it in the
cache, because a few rows at a time are worked on.
"""

from importlib.util import find_spec

import torch

from steering import arrays
from steering.arrays import Array

CACHED = 2**19
"""Bytes of logits that are worked on at a time; they stay in a core's cache."""
_HAS_TRITON = find_spec("triton") is not None


def logsumexp(logits: Array, rows: Array) -> Array:
    """The logarithm of a row's sum of exponentials.

    logits: [N, V] float32, rows contiguous; rows: [n] int64. Returns [n] float32: NaN where a row
    holds a NaN, -inf where all of it is -inf.
    """
    if isinstance(logits, torch.Tensor) and _by_kernel(logits):
        from steering import kernels

        return kernels.logsumexp(logits, rows)
    at_a_time = max(1, CACHED // (4 * logits.shape[1]))
    if len(rows) <= at_a_time:
        return arrays.logsumexp(logits[rows])
    starts = range(0, len(rows), at_a_time)
    sums = [arrays.logsumexp(logits[rows[start : start + at_a_time]]) for start in starts]
    found: Array = arrays.library(rows).concatenate(sums)
    return found


def leave_only(logits: Array, rows: Array, targets: Array) -> None:
    """Leave a row no finite logit but its target's, which becomes 0.

    logits: [N, V] float32, rows contiguous, changed in place; rows: [n] int64; targets: [n] int64
    columns, below 0 for a row that is left as it is.
    """
    if isinstance(logits, torch.Tensor) and _by_kernel(logits):
        from steering import kernels

        kernels.leave_only(logits, rows, targets)
        return
    forced = targets >= 0
    left = rows[forced]
    logits[left] = -torch.inf
    logits[left, targets[forced]] = 0.0


def _by_kernel(logits: torch.Tensor) -> bool:
    return logits.is_cuda and _HAS_TRITON
