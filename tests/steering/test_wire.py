import json
import math

import pytest

from steering.tokens import ControlTokens
from steering.wire import GateConfig, thresholds_of, to_extra_args

CONFIG = GateConfig(ControlTokens(respond=7, refuse=(9, 8)), defaults=(0.0, math.inf))


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
    assert thresholds_of(to_extra_args((0.5, math.inf, -math.inf))) == [0.5, math.inf, -math.inf]


@pytest.mark.parametrize("extra_args", [None, {}, {"other": [1]}])
def test_a_request_may_carry_none(extra_args: dict[str, object] | None) -> None:
    assert thresholds_of(extra_args) is None


@pytest.mark.parametrize("values", ["all", [0.5, "1"], [math.nan], [True], 0.5, {"a": 1.0}])
def test_anything_but_numbers_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="must be a list of numbers"):
        thresholds_of({"demur_thresholds": values})
