from typing import Any

import pytest
from pydantic import ValidationError

from server.judge import Judgement
from server.moderation import MOST_INPUTS, ModerationRequest, _result

NAMES = ("safety", "temporal")


class TestInput:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("one", [["one"]]),
            (["one", "two"], [["one"], ["two"]]),
            ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], [["a\nb"]]),
            (
                [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
                [["be kind", "hi"]],
            ),
        ],
    )
    def test_is_a_text_texts_parts_or_messages(self, given: Any, expected: list[list[str]]) -> None:
        found = ModerationRequest(input=given).conversations()
        assert [[turn["content"] for turn in turns] for turns in found] == expected

    @pytest.mark.parametrize(
        "given",
        [[], 1, [1], ["x"] * (MOST_INPUTS + 1), [{"type": "image_url", "image_url": {"url": "x"}}]],
    )
    def test_is_nothing_else(self, given: Any) -> None:
        with pytest.raises(ValidationError):
            ModerationRequest(input=given)


class TestResult:
    def test_is_flagged_by_the_engines_decision(self) -> None:
        found = _result(NAMES, (0.0, 0.0), Judgement(0, (2.0, -2.0)))
        assert found.flagged
        assert found.categories == {"safety": True, "temporal": False}
        assert found.category_scores["safety"] == pytest.approx(0.8807970779778823)

    def test_has_every_category_that_reaches_its_threshold(self) -> None:
        assert all(_result(NAMES, (0.0, 1.0), Judgement(0, (2.0, 1.0))).categories.values())

    def test_agrees_with_the_engine_where_rounding_tips_a_score(self) -> None:
        tipped = _result(NAMES, (2.0, 2.0), Judgement(1, (-1.0, 1.999999)))
        assert tipped.categories == {"safety": False, "temporal": True}
        answered = _result(NAMES, (2.0, 2.0), Judgement(None, (2.0, -1.0)))
        assert not answered.flagged
        assert not any(answered.categories.values())
