import pytest

from steering.shapes import FEATURES, features_of, shape_of, tally, uncovered

SYSTEM, TOOLS, TURNS = FEATURES.values()


@pytest.mark.parametrize(
    ("roles", "tools", "shape"),
    [
        ("user", 0, 0),
        ("system user", 0, SYSTEM),
        ("developer user", 0, SYSTEM),
        ("user", 1, TOOLS),
        ("user", 7, TOOLS),
        ("user assistant user", 0, TURNS),
        ("user assistant tool", 1, TOOLS | TURNS),
        ("system user assistant tool assistant user", 2, SYSTEM | TOOLS | TURNS),
    ],
)
def test_the_shape_is_what_stands_around_the_question(roles: str, tools: int, shape: int) -> None:
    assert shape_of(roles.split(), tools) == shape


def test_a_shape_is_named_by_its_features() -> None:
    assert features_of(0) == ("plain",)
    assert features_of(SYSTEM | TURNS) == ("system", "turns")


def test_a_prompt_counts_for_each_of_its_features() -> None:
    assert tally([]) == {"system": 0, "tools": 0, "turns": 0, "plain": 0}
    assert tally([0, 0, SYSTEM, SYSTEM | TOOLS]) == {
        "system": 2,
        "tools": 1,
        "turns": 0,
        "plain": 2,
    }


def test_each_feature_that_no_prompt_has_is_a_sentence() -> None:
    counts = tally([0, SYSTEM])
    assert uncovered(counts, 0) == uncovered(counts, SYSTEM) == ()
    assert uncovered(counts, SYSTEM | TOOLS | TURNS) == (
        "no calibration prompt has tools: rates are not a promise for this prompt",
        "no calibration prompt has earlier turns: rates are not a promise for this prompt",
    )
    (plain,) = uncovered(tally([TOOLS]), 0)
    assert plain.startswith("no calibration prompt is without a system prompt, tools and earlier")
