"""Batches with the places of the base's own answers, padded or in one sequence."""

import pytest
import torch

from tests.training.conftest import Parts
from training.collator import KEPT, Collator
from training.losses import OTHER, Objective, Top
from training.trainer import aligned

ROWS = [
    {"input_ids": [5, 6, 7, 9], "labels": [-100, -100, 7, 9], KEPT: [-1, -1, -1, 0]},
    {"input_ids": [5, 8], "labels": [-100, 8], KEPT: [-1, -1]},
    {"input_ids": [5, 7, 9, 6, 4], "labels": [-100, 7, 9, 6, 4], KEPT: [-1, -1, 1, 2, 3]},
]
"""Two answers of the base, and a decision alone."""


def test_places_are_padded_as_labels_are() -> None:
    batch = Collator(pad_token_id=0)(ROWS)
    assert batch[KEPT].tolist() == [
        [-1, -1, -1, 0, -1],
        [-1, -1, -1, -1, -1],
        [-1, -1, 1, 2, 3],
    ]
    assert batch["labels"].shape == batch[KEPT].shape == batch["input_ids"].shape


def test_without_padding_places_follow_each_other() -> None:
    batch = Collator(pad_token_id=0, padding_free=True)(ROWS)
    assert batch[KEPT].tolist() == [[-1, -1, -1, 0, -1, -1, -1, -1, 1, 2, 3]]
    assert "attention_mask" not in batch
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 4]]


def test_other_batches_are_trls() -> None:
    rows = [{name: row[name] for name in ("input_ids", "labels")} for row in ROWS]
    batch = Collator(pad_token_id=0)(rows)
    assert set(batch) == {"input_ids", "labels", "attention_mask"}


def test_labels_and_places_move_to_where_they_are_predicted() -> None:
    labels, kept = aligned(Collator(pad_token_id=0)(ROWS[:2]))
    assert labels.tolist() == [[-100, 7, 9, -100], [8, -100, -100, -100]]
    assert kept is not None
    assert kept.tolist() == [[-1, -1, 0, -1], [-1, -1, -1, -1]]


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_a_batch_without_padding_has_the_same_loss(weight: float, untrained: Parts) -> None:
    model = untrained[0]
    draw = torch.Generator().manual_seed(0)
    logprobs = torch.randn(4, 50, generator=draw).log_softmax(dim=1).topk(3)
    objective = Objective((7, 8), weight, 0.5, Top(logprobs.indices, logprobs.values))
    found = []
    for padding_free in (False, True):
        batch = Collator(pad_token_id=0, padding_free=padding_free)(ROWS)
        labels, kept = aligned(batch)
        # Each row by itself, as flash attention keeps them apart.
        with torch.no_grad():
            alone = [
                model(input_ids=torch.tensor([row["input_ids"]])).logits[0].clone() for row in ROWS
            ]
        if padding_free:
            logits = torch.cat(alone)[None]
        else:
            logits = torch.nn.utils.rnn.pad_sequence(alone, batch_first=True)
        counts = objective.counts(labels, kept)
        assert counts.tolist() == ([3, 4, 4] if weight else [0, 7, 4])
        found.append(float(objective.loss(logits, labels, kept, counts)))
    assert found[0] == pytest.approx(found[1])
    assert OTHER == -1
