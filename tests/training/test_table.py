import math

import numpy as np

from steering.calibration import CalibrationScores
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
