import math

import numpy as np
import pytest

from steering.calibration import CalibrationScores
from steering.shapes import FEATURES
from training.records import Message, Record
from training.table import table


def question(text: str, category: str | None) -> Record:
    return Record((Message("user", text),), category)


def test_the_table_by_hand() -> None:
    scores = CalibrationScores(
        categories=("safety", "temporal"),
        labels=np.array([0, 0, 0, 0, -1, -1, -1]),
        scores=np.array(
            [[3, -9], [2, -9], [1, -9], [-40, 1], [-9, -9], [4, -9], [-9, -9]], dtype=np.float32
        ),
    )
    look_alike = Record((Message("user", "a"),), None, contrast_of="safety")
    records = [question("a", "safety")] * 4 + [question("a", None), look_alike, look_alike]
    head, safety, temporal, comply, *_ = table(scores, records)
    assert " ".join(head.split()) == (
        "prompts refused contrast threshold at 0.25 threshold at 0.5"
        " threshold at 0.75 threshold at 1"
    )
    # The fourth prompt is refused as temporal; one of the two look-alikes is refused.
    assert " ".join(safety.split()) == (
        "safety 4 100.0% 50.0% 0.953 (+3.00) 0.881 (+2.00) 0.731 (+1.00)"
        f" {math.exp(-40):.3g} (-40.00)"
    )
    assert temporal.split() == ["temporal", "0", "-", "-", "-", "-", "-", "-"]
    assert comply.split() == ["comply", "3", "33.3%"]
    assert head.index("threshold at 1") + len("threshold at 1") == len(safety)


def lines_of_shapes(shapes: list[int] | None) -> list[str]:
    """Forty prompts of a category, all refused but the last ten."""
    scores = CalibrationScores(
        ("safety",),
        np.zeros(40, dtype=np.int64),
        np.array([[1]] * 30 + [[-1]] * 10, dtype=np.float32),
        None if shapes is None else np.array(shapes, dtype=np.uint8),
    )
    lines = list(table(scores, [question("a", "safety")] * 40))
    return [" ".join(line.split()) for line in lines[5:]]


def test_what_a_shape_changes_is_shown() -> None:
    assert lines_of_shapes([0] * 30 + [FEATURES["tools"]] * 10) == [
        "shapes: system 0, tools 10, turns 0, plain 30",
        "safety comply",
        "tools 0% / 100%* - / -",
        "refused at the default with the feature / without it; *: more than chance explains,",
        "so that a rate does not carry over",
        "no prompts: system, turns; rates are not a promise for such prompts",
    ]


@pytest.mark.parametrize("every", list(FEATURES.values()))
def test_of_one_shape_there_is_nothing_to_compare(every: int) -> None:
    counts, missing = lines_of_shapes([every] * 40)
    assert counts.startswith("shapes: system ")
    assert missing.startswith("no prompts: ")
    assert lines_of_shapes(None) == []
