"""The order of training examples: batches of similar length, in random order.

It depends on the seed and the epoch alone, so that a resumed run sees what the uninterrupted one
would have seen. (transformers' LengthGroupedSampler draws from the global generator, which is not
at the epoch's start when a run resumes, and leaves each stretch of batches sorted by length.)
"""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

STRETCH = 50
"""Batches that are sorted by length together; more means less padding and less randomness."""


class LengthBatches(Sampler[int]):
    """Yields indices whose consecutive runs of `batch_size` have similar lengths."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; the data loader calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        shuffled = torch.randperm(len(self), generator=generator).tolist()
        batches = [
            batch
            for stretch in _cut(shuffled, STRETCH * self._batch_size)
            for batch in _cut(
                sorted(stretch, key=lambda index: self._lengths[index]), self._batch_size
            )
        ]
        # The one batch that may be short stays last: the loader cuts batches by counting.
        short = [batches.pop()] if batches and len(batches[-1]) < self._batch_size else []
        order = torch.randperm(len(batches), generator=generator).tolist()
        for batch in [*(batches[index] for index in order), *short]:
            yield from batch


def _cut(indices: list[int], size: int) -> list[list[int]]:
    return [indices[begin : begin + size] for begin in range(0, len(indices), size)]
