import json
import math
from typing import Any

import pytest

from steering.tokens import ControlTokens
from steering.wire import GateConfig, RowSettings, forcing

CONFIG = GateConfig(ControlTokens(respond=7, refuse=(9, 8)), defaults=(0.0, math.inf))
SETTINGS = RowSettings((0.5, -math.inf), every_token=True, bias=((7, -100.0), (0, 2.5)))


@pytest.mark.parametrize(
    "config", [CONFIG, GateConfig(ControlTokens(respond=None, refuse=(9,)), defaults=(-math.inf,))]
)
def test_the_engines_part_survives_json(config: GateConfig) -> None:
    travelled = json.loads(json.dumps(config.to_additional_config() | {"other": 1}))
    assert GateConfig.from_additional_config(travelled) == config


@pytest.mark.parametrize("additional", [None, {}, {"other": 1}, "demur"])
def test_an_engine_started_by_other_means_says_so(additional: object) -> None:
    with pytest.raises(RuntimeError, match="demur-serve"):
        GateConfig.from_additional_config(additional)


def test_a_requests_part_survives() -> None:
    assert RowSettings.from_extra_args(SETTINGS.to_extra_args()) == SETTINGS
    assert CONFIG.row_settings(SETTINGS.to_extra_args()) == SETTINGS


@pytest.mark.parametrize("extra_args", [None, {}, {"other": [1]}])
def test_a_request_may_carry_none(extra_args: dict[str, object] | None) -> None:
    assert RowSettings.from_extra_args(extra_args) is None
    assert CONFIG.row_settings(extra_args) == RowSettings(CONFIG.defaults)


@pytest.mark.parametrize(
    "changes",
    [
        {"thresholds": "all"},
        {"thresholds": [0.5, "1"]},
        {"thresholds": [math.nan, 0.0]},
        {"thresholds": [True, False]},
        {"thresholds": 0.5},
        {"every_token": 1},
        {"bias": {"7": 1.0}},
        {"bias": [[7]]},
        {"bias": [[-7, 1.0]]},
        {"bias": [[7, math.inf]]},
        {"bias": [["7", 1.0]]},
        {"other": 1},
    ],
)
def test_anything_else_is_refused_in_front_and_gets_the_default_in_the_engine(
    changes: dict[str, Any],
) -> None:
    extra_args = {"demur": SETTINGS.to_extra_args()["demur"] | changes}
    with pytest.raises(ValueError, match=r"must be|not written by demur-serve"):
        RowSettings.from_extra_args(extra_args)
    assert CONFIG.row_settings(extra_args) == RowSettings(CONFIG.defaults)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_settings_for_another_number_of_categories_get_the_default(count: int) -> None:
    settings = RowSettings((-math.inf,) * count)
    assert CONFIG.row_settings(settings.to_extra_args()) == RowSettings(CONFIG.defaults)


def test_every_decision_can_be_forced() -> None:
    assert forcing(1, 3) == (math.inf, -math.inf, math.inf)
    assert forcing(None, 2) == (math.inf, math.inf)
