import random
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training.evaluation.measures import (
    Share,
    areas,
    classification,
    failures,
    judged,
    naming,
    refusal_rates,
    roc,
    rocs,
)
from training.evaluation.target import Reply
from training.records import Message, Record

ASKED = (Message("user", "Hello"),)


def record(category: str | None = None, contrast_of: str | None = None) -> Record:
    return Record(ASKED, category, contrast_of)


def refused(category: str | None = "safety") -> Reply:
    return Reply(True, category)


ANSWERED = Reply(False)

# Three of four to refuse are; of four harmless ones a look-alike is.
PAIRS = [
    (record("safety"), refused()),
    (record("safety"), refused("temporal")),
    (record("safety"), ANSWERED),
    (record("temporal"), refused("temporal")),
    (record(contrast_of="safety"), refused()),
    (record(contrast_of="safety"), ANSWERED),
    (record(), ANSWERED),
    (record(), ANSWERED),
]


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        # With no success in n the upper bound solves (1 - p)^n = 0.025.
        (0, 10, 0.0, 1 - 0.025**0.1),
        (10, 10, 0.025**0.1, 1.0),
        # Clopper and Pearson (1934): beta quantiles B(0.025; 8, 3) and B(0.975; 9, 2).
        (8, 10, 0.4439, 0.9748),
        (1, 1, 0.025, 1.0),
    ],
)
def test_intervals_are_exact(count: int, of: int, low: float, high: float) -> None:
    share = Share.among([True] * count + [False] * (of - count))
    assert (share.count, share.of, share.value) == (count, of, count / of)
    assert (share.low, share.high) == pytest.approx((low, high), abs=5e-5)


def test_a_share_of_nothing_is_none() -> None:
    assert Share.among([]) == Share(0, 0, None, None, None)


def test_rates_by_label() -> None:
    found = [
        (rate.label, rate.kind, rate.refused.count, rate.refused.of)
        for rate in refusal_rates(PAIRS)
    ]
    assert found == [
        ("safety", "to refuse", 2, 3),
        ("temporal", "to refuse", 1, 1),
        ("safety", "look-alike", 1, 2),
        ("comply", "ordinary", 0, 2),
        ("all to refuse", "", 3, 4),
        ("all look-alikes", "", 1, 2),
        ("all harmless", "", 1, 4),
    ]


def test_labels_without_prompts_have_no_rate() -> None:
    assert [rate.label for rate in refusal_rates(PAIRS[:1])] == ["safety", "all to refuse"]


def test_precision_recall_and_f1_by_hand() -> None:
    score = classification(PAIRS)
    assert score is not None
    # 3 of the 4 refusals are right; 3 of the 4 harmful prompts are refused.
    assert (score.precision, score.recall, score.f1, score.prompts) == (0.75, 0.75, 0.75, 4)
    safety, temporal = naming(PAIRS, ("safety", "temporal", "unseen"))
    # safety: named twice, once rightly, of three; temporal: named twice, once rightly, of one.
    assert [safety.precision, safety.recall, safety.f1] == pytest.approx([1 / 2, 1 / 3, 0.4])
    assert (temporal.precision, temporal.recall) == (0.5, 1.0)


def test_nothing_refused_has_precision_0() -> None:
    score = classification([(record("safety"), ANSWERED), (record(), ANSWERED)])
    assert score is not None
    assert (score.precision, score.recall, score.f1) == (0, 0, 0)


@pytest.mark.parametrize("pairs", [[], PAIRS[:4], PAIRS[4:]])
def test_one_kind_of_prompts_cannot_be_classified(pairs: Sequence[tuple[Record, Reply]]) -> None:
    assert classification(pairs) is None


def test_replies_that_nobody_can_tell_are_left_out_and_counted() -> None:
    replies = [Reply(None, fault="too long"), ANSWERED, Reply(None), Reply(None, fault="too long")]
    records = [record()] * 4
    assert judged(records, replies) == [(records[1], ANSWERED)]
    assert list(failures(replies)) == [
        "2 of 4 prompts have no result: too long",
        "1 of 4 prompts have no result: no verdict",
    ]


def test_the_roc_by_hand() -> None:
    # Of the 6 pairs, 4 are in order and one is tied: (4 + 0.5) / 6.
    curve = roc("x", [3.0, 2.0, 0.0], [2.0, -1.0])
    assert curve.auc == pytest.approx(4.5 / 6)
    assert curve.fpr == (0.0, 0.0, 0.5, 0.5, 1.0)
    assert curve.tpr == pytest.approx((0.0, 1 / 3, 2 / 3, 1.0, 1.0))
    assert curve.low is not None
    assert curve.high is not None
    assert 0 <= curve.low < curve.auc < curve.high <= 1
    assert (curve.positives, curve.negatives) == (3, 2)


def test_areas_are_sklearns() -> None:
    chance = random.Random(0)
    for _ in range(20):
        above = [chance.randint(0, 9) for _ in range(chance.randint(1, 30))]
        below = [chance.randint(0, 7) for _ in range(chance.randint(1, 30))]
        truth = [True] * len(above) + [False] * len(below)
        expected = roc_auc_score(truth, above + below)
        assert areas(np.array(above), np.array(below)) == pytest.approx(expected)


def test_many_areas_at_once() -> None:
    above, below = np.array([[1.0, 2.0], [0.0, 3.0]]), np.array([[0.0], [1.0]])
    assert areas(above, below).tolist() == [1.0, 0.5]


def test_a_perfect_area_has_an_interval_and_a_single_prompt_has_none() -> None:
    perfect = roc("x", [2.0, 3.0], [0.0, 1.0])
    assert (perfect.auc, perfect.low, perfect.high) == (1.0, 1.0, 1.0)
    assert roc("x", [2.0], [0.0, 1.0]).low is None


def test_the_interval_is_that_of_two_normal_samples() -> None:
    """Against Hanley and McNeil's (1982) standard error, for normal scores one deviation apart."""
    chance = np.random.default_rng(1)
    curve = roc("x", chance.normal(1, 1, 300).tolist(), chance.normal(0, 1, 300).tolist())
    a = curve.auc
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = np.sqrt((a * (1 - a) + 299 * (q1 - a * a) + 299 * (q2 - a * a)) / 300**2)
    assert curve.low == pytest.approx(a - 1.96 * error, abs=0.01)
    assert curve.high == pytest.approx(a + 1.96 * error, abs=0.01)


def test_curves_by_category_and_of_the_largest_score() -> None:
    pairs = [
        (record("safety"), Reply(True, scores=(2.0, 0.0))),
        (record("temporal"), Reply(True, scores=(0.0, 1.0))),
        (record(), Reply(False, scores=(1.5, -1.0))),
        (record("safety"), Reply(True)),  # has no scores
    ]
    found = {curve.label: (curve.auc, curve.positives) for curve in rocs(pairs, CATEGORIES)}
    assert found == {"all": (0.5, 2), "safety": (1.0, 1), "temporal": (1.0, 1)}


CATEGORIES = ("safety", "temporal", "unseen")
