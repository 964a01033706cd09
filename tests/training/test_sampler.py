import random

import pytest

from training.sampler import LengthBatches

LENGTHS = random.Random(0).choices(range(1, 100), k=1003)


def order(seed: int = 0, epoch: int = 0, batch_size: int = 8) -> list[int]:
    sampler = LengthBatches(LENGTHS, batch_size, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_every_example_comes_once() -> None:
    assert sorted(order()) == list(range(len(LENGTHS)))
    assert len(LengthBatches(LENGTHS, 8, 0)) == len(LENGTHS)


def test_seed_and_epoch_alone_decide_the_order() -> None:
    assert order(3, 2) == order(3, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_batches_hold_similar_lengths_but_come_in_no_order() -> None:
    batches = [[LENGTHS[i] for i in order()[begin : begin + 8]] for begin in range(0, 1000, 8)]
    spread = sum(max(batch) - min(batch) for batch in batches) / len(batches)
    assert spread < 6
    firsts = [batch[0] for batch in batches]
    assert firsts != sorted(firsts)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9])
def test_few_examples(count: int) -> None:
    assert sorted(LengthBatches([5] * count, 8, 0)) == list(range(count))
