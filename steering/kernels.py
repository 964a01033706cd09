"""The gate's passes over whole rows of logits on a GPU, in Triton: what torch's operations read
often.

`steering.rows` calls these where Triton is to be had, and says what they return.
"""

import torch
import triton
import triton.language as tl

BLOCK = 4096
"""Logits of a row that a program holds at a time."""


@triton.jit  # type: ignore[untyped-decorator]
def _logsumexp(
    sums: tl.tensor,
    logits: tl.tensor,
    stride: int,
    rows: tl.tensor,
    columns: int,
    held: tl.constexpr,
) -> None:
    at = tl.program_id(0)
    row = logits + tl.load(rows + at).to(tl.int64) * stride
    top = -float("inf")
    total = 0.0
    for start in range(0, columns, held):
        column = start + tl.arange(0, held)
        block = tl.load(row + column, mask=column < columns, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(top, tl.max(block, 0))
        # As torch has it: nothing to subtract where the largest is infinite.
        shift = tl.where(tl.abs(higher) == float("inf"), 0.0, higher)
        total = total * tl.exp(top - shift) + tl.sum(tl.exp(block - shift), 0)
        top = higher
    shift = tl.where(tl.abs(top) == float("inf"), 0.0, top)
    tl.store(sums + at, shift + tl.log(total))


@triton.jit  # type: ignore[untyped-decorator]
def _leave_only(
    logits: tl.tensor,
    stride: int,
    rows: tl.tensor,
    targets: tl.tensor,
    columns: int,
    held: tl.constexpr,
) -> None:
    at = tl.program_id(0)
    target = tl.load(targets + at)
    if target >= 0:
        row = logits + tl.load(rows + at).to(tl.int64) * stride
        for start in range(0, columns, held):
            column = start + tl.arange(0, held)
            left = tl.where(column == target, 0.0, -float("inf"))
            tl.store(row + column, left, mask=column < columns)


def logsumexp(logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """One read of each row, by keeping the sum to the largest logit so far.

    (Online normalizer calculation for softmax, arXiv 1805.02867, algorithm 3.)
    """
    sums = torch.empty(len(rows), dtype=torch.float32, device=logits.device)
    if len(rows):
        _logsumexp[(len(rows),)](sums, logits, logits.stride(0), rows, logits.shape[1], BLOCK)
    return sums


def leave_only(logits: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor) -> None:
    """No read, and one write of each row that has a target."""
    if len(rows):
        grid = (len(rows),)
        _leave_only[grid](logits, logits.stride(0), rows, targets, logits.shape[1], BLOCK)
