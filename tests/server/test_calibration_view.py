import asyncio
import json
from typing import Any

import pytest
from vllm.exceptions import VLLMValidationError

from server.calibration_view import (
    CalibrationQuery,
    CalibrationView,
    calibration_view,
    categories_view,
)
from server.refusal_texts import RefusalTexts
from steering.bounds import Bounds, Range
from steering.curves import RANGE
from steering.policy import Policy
from tests.server.conftest import MANIFEST, SCOPED


def view(policy: Policy, **query: Any) -> CalibrationView:
    return asyncio.run(calibration_view(policy, CalibrationQuery(**query)))


class TestCategories:
    def test_have_the_defaults_and_bounds_of_the_caller(self, texts: RefusalTexts) -> None:
        bounds = Bounds({"safety": Range(default=1.0, floor=0.5)})
        found = categories_view(MANIFEST, Policy(MANIFEST, SCOPED, bounds), texts, "float32")
        safety, temporal = found.data
        assert (safety.default_rate, safety.floor, safety.ceiling) == (1.0, 0.5, 1.0)
        assert (temporal.default_rate, temporal.default_threshold) == (None, 0.5)
        assert safety.effective_rate == 1.0
        assert safety.calibration_prompts == 2
        assert found.calibrated
        assert (found.refusal_text, found.refusal_languages) == ("generated", ["en", "de"])
        assert found.refusal_texts == ["generated", "template"]

    def test_without_calibration_have_thresholds_only(self) -> None:
        found = categories_view(MANIFEST, Policy(MANIFEST, {}), RefusalTexts(MANIFEST), "float32")
        assert not found.calibrated
        assert found.data[0].effective_rate is None
        assert found.data[0].calibration_prompts == 0
        assert found.refusal_languages == []


class TestCalibration:
    POLICY = Policy(MANIFEST, SCOPED)

    def test_says_what_settings_come_to_and_how_sure(self) -> None:
        found = view(self.POLICY, refusal_rates=json.dumps({"safety": 0.5}))
        safety, _ = found.categories
        assert (safety.requested_rate, safety.effective_rate, safety.prompts) == (0.5, 0.5, 2)
        # The upper of two scores: Beta(1, 2).
        assert safety.interval.low == pytest.approx(1 - 0.975**0.5)
        assert safety.interval.high == pytest.approx(1 - 0.025**0.5)
        assert found.over_refusal is not None
        assert (found.over_refusal.share, found.over_refusal.prompts) == (0, 1)

    def test_has_the_shapes_that_were_calibrated(self) -> None:
        assert view(self.POLICY, curves=False).shapes is None
        shapes = {"system": 3, "tools": 0, "turns": 1, "plain": 2}
        assert MANIFEST.calibration is not None
        calibration = MANIFEST.calibration.model_copy(update={"shapes": shapes})
        policy = Policy(MANIFEST.model_copy(update={"calibration": calibration}), SCOPED)
        assert view(policy, curves=False).shapes == shapes

    def test_has_every_categorys_curve_with_the_others_as_set(self) -> None:
        found = view(self.POLICY, refusal_rates="0.5")
        for category in found.categories:
            assert category.curve is not None
            assert [point.rate for point in category.curve] == list(RANGE)
            effective = [point.effective_rate or 0 for point in category.curve]
            assert effective == sorted(effective)

    def test_leaves_the_curves_out_if_asked_to(self) -> None:
        assert all(each.curve is None for each in view(self.POLICY, curves=False).categories)

    def test_without_calibration_has_thresholds_only(self) -> None:
        found = view(Policy(MANIFEST, {}), refusal_thresholds='{"safety": 0.25}')
        assert not found.calibrated
        assert found.refusal_settings.thresholds["safety"] == pytest.approx(0.25)
        assert found.categories == []

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"refusal_rates": "{"}, "refusal_rates"),
            ({"refusal_rates": "[" * 100_000}, "refusal_rates"),
            ({"refusal_rates": "9" * 5_000}, "refusal_rates"),
            ({"refusal_rates": "[1]"}, "refusal_rates"),
            ({"refusal_rates": '{"safty": 1}'}, "refusal_rates"),
            ({"over_refusal_budget": '"much"'}, "over_refusal_budget"),
            ({"refusal_thresholds": '{"safety": 2}'}, "refusal_thresholds"),
        ],
    )
    def test_refuses_what_a_chat_would_refuse(self, query: dict[str, str], field: str) -> None:
        with pytest.raises(VLLMValidationError) as caught:
            view(self.POLICY, **query)
        assert caught.value.parameter == field
