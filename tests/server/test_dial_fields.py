from typing import Any

import pytest
from vllm.exceptions import VLLMValidationError

from server.dial_fields import DialFields
from steering.settings import Budget, Settings


def test_nothing_given_asks_for_nothing() -> None:
    assert DialFields().settings == Settings()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, Budget(0.0)),
        (0.02, Budget(0.02)),
        ({"share": 0.02}, Budget(0.02)),
        ({"share": 0.02, "categories": ["safety"]}, Budget(0.02, ("safety",))),
    ],
)
def test_a_budget_is_a_share_or_one_with_categories(value: Any, expected: Budget) -> None:
    assert DialFields.model_validate({"over_refusal_budget": value}).settings.budget == expected


@pytest.mark.parametrize(
    "value",
    [-0.1, 1.1, True, "0.5", [], float("nan"), {}, {"share": 2}, {"share": 0.1, "of": ["safety"]},
     {"share": 0.1, "categories": "safety"}, {"share": 0.1, "categories": [1]}],
)  # fmt: skip
def test_any_other_budget_is_refused_by_name_and_value(value: Any) -> None:
    with pytest.raises(VLLMValidationError) as caught:
        DialFields.model_validate({"over_refusal_budget": value})
    assert caught.value.parameter == "over_refusal_budget"
    assert "between 0 and 1" in str(caught.value)
