import numpy as np

from steering.calibration import COMPLY_INDEX, CalibrationScores
from steering.shapes import FEATURES
from training.carry_over import Comparison, Side, carry_over

SYSTEM, TOOLS, _ = FEATURES.values()


def scores(shapes: list[int] | None) -> CalibrationScores:
    """Two prompts to refuse, of which the first is; two harmless ones, of which the last is."""
    return CalibrationScores(
        ("safety",),
        np.array([0, 0, COMPLY_INDEX, COMPLY_INDEX]),
        np.array([[1], [-1], [-2], [2]], dtype=np.float32),
        None if shapes is None else np.array(shapes, dtype=np.uint8),
    )


def test_shares_with_a_feature_and_without_by_hand() -> None:
    system, tools = carry_over(scores([SYSTEM, SYSTEM | TOOLS, SYSTEM, 0]), [0.0])
    assert (system.feature, system.prompts) == ("system", 3)
    assert system.comparisons == (
        Comparison(Side(1, 2), Side(0, 0)),
        Comparison(Side(0, 1), Side(1, 1)),
    )
    assert [str(each) for each in system.comparisons] == ["50% / -", "0% / 100%"]
    assert (tools.feature, tools.prompts) == ("tools", 1)
    assert [str(each) for each in tools.comparisons] == ["0% / 100%", "- / 50%"]
    assert [str(e) for e in carry_over(scores([SYSTEM, 0, 0, 0]), [9.0])[0].comparisons] == [
        "0% / 0%",
        "- / 0%",
    ]


def test_features_that_all_prompts_have_or_none_compare_nothing() -> None:
    assert carry_over(scores([SYSTEM] * 4), [0.0]) == []
    assert carry_over(scores(None), [0.0]) == []


def test_what_chance_explains_is_no_difference() -> None:
    assert Comparison(Side(16, 25), Side(98, 100)).differs
    assert Comparison(Side(98, 100), Side(16, 25)).differs
    assert not Comparison(Side(24, 25), Side(98, 100)).differs
    assert not Comparison(Side(0, 1), Side(100, 100)).differs
    assert not Comparison(Side(0, 0), Side(100, 100)).differs
