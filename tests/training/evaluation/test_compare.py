from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from training.evaluation.compare import (
    AUC,
    F1,
    OVER_REFUSED,
    REFUSED,
    Compared,
    Estimate,
    compare,
    comparison_tables,
    outcomes,
)
from training.evaluation.measures import Pairs
from training.evaluation.target import EvalError, Reply
from training.records import Message, Record

TRUTH = [True] * 20 + [False] * 30


def run(seed: int, signal: float, *, scores: bool = True) -> Pairs:
    """Replies to TRUTH's prompts, refused from a score of 0 on."""
    drawn = np.random.default_rng(seed).normal(size=len(TRUTH)) + signal * (np.array(TRUTH) - 0.5)
    return [
        (
            Record((Message("user", f"prompt {at}"),), "safety" if harmful else None),
            Reply(bool(score >= 0), scores=(float(score), -9.0) if scores else None),
        )
        for at, (harmful, score) in enumerate(zip(TRUTH, drawn, strict=True))
    ]


def by_measure(rows: Sequence[Compared], variant: str) -> dict[str, Compared]:
    return {row.measure: row for row in rows if row.variant == variant}


def test_values_are_means_over_the_runs() -> None:
    runs = [run(0, 1.0), run(1, 1.0)]
    found = by_measure(compare({"one": runs}), "one")
    said = [[bool(reply.refused) for _, reply in own] for own in runs]
    scores = [[reply.scores[0] for _, reply in own if reply.scores] for own in runs]
    expected = {
        AUC: np.mean([roc_auc_score(TRUTH, own) for own in scores]),
        F1: np.mean([f1_score(TRUTH, own) for own in said]),
        REFUSED: np.mean([own[:20] for own in said]),
        OVER_REFUSED: np.mean([own[20:] for own in said]),
    }
    for measure, value in expected.items():
        estimate = found[measure].estimate
        assert estimate is not None
        assert estimate.value == pytest.approx(value)
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.low < estimate.high
        assert found[measure].difference is None


def test_differences_are_of_pairs() -> None:
    same = [run(0, 1.0), run(1, 1.0)]
    better = [run(0, 4.0), run(1, 4.0)]
    rows = compare({"one": same, "again": same, "better": better})
    for row in by_measure(rows, "again").values():
        assert row.difference == Estimate(0.0, 0.0, 0.0)
    gain = by_measure(rows, "better")[AUC].difference
    assert gain is not None
    assert 0 < gain.low < gain.value < gain.high


def decided(said: Sequence[bool]) -> Pairs:
    """Replies that refuse as `said`."""
    pairs = run(0, 1.0, scores=False)
    return [(record, Reply(own)) for (record, _), own in zip(pairs, said, strict=True)]


def interval_of_refused(runs: Sequence[Pairs]) -> tuple[float, float]:
    estimate = by_measure(compare({"one": runs}), "one")[REFUSED].estimate
    assert estimate is not None
    return estimate.low, estimate.high


def test_both_runs_and_prompts_count_as_drawn() -> None:
    every, none = decided([True] * 50), decided([False] * 50)
    half = decided([True, False] * 25)
    assert interval_of_refused([every, every]) == (1.0, 1.0)
    # No prompt differs from another, but the runs do; and the other way round.
    assert interval_of_refused([every, none]) == (0.0, 1.0)
    low, high = interval_of_refused([half, half])
    assert 0.2 < low < 0.4 < 0.6 < high < 0.8


def test_what_has_no_scores_has_no_area() -> None:
    rows = compare({"one": [run(0, 1.0)], "plain": [run(0, 1.0, scores=False)]})
    assert by_measure(rows, "plain")[AUC].estimate is None
    assert by_measure(rows, "plain")[F1].difference == Estimate(0.0, 0.0, 0.0)
    lines = list(comparison_tables(rows))
    assert "| model | AUC | F1 | refused | over-refusal |" in lines
    assert [line.split(" | ")[1] for line in lines if line.startswith("| plain")] == ["-", "-"]


def test_what_cannot_be_compared_is_said() -> None:
    good = run(0, 1.0)
    with pytest.raises(EvalError, match="on the same prompts in the same order"):
        outcomes([good, good[::-1]])
    with pytest.raises(EvalError, match="on the same prompts"):
        outcomes([])
    with pytest.raises(EvalError, match="1 replies have no verdict"):
        outcomes([[*good[:-1], (good[-1][0], Reply(None))]])
    with pytest.raises(EvalError, match="prompts to refuse and harmless ones"):
        outcomes([good[:20]])
    with pytest.raises(EvalError, match="two has other prompts, or another number of runs"):
        compare({"one": [good], "two": [good, good]})
