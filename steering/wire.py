"""What travels between Demur's front end and the gate in the engine.

Once per engine, in vLLM's `additional_config`: the control tokens and the default thresholds. Once
per request, in the sampling parameters' `extra_args`: that request's thresholds and scope. Only
Demur writes either; a client's `vllm_xargs` never reach the engine.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from steering.tokens import ControlTokens

CONFIG_KEY = "demur"
"""In vLLM's `additional_config`, and in the sampling parameters' `extra_args`."""


@dataclass(frozen=True)
class RowSettings:
    """What the gate applies to one request."""

    thresholds: tuple[float, ...]
    """[C] log-odds, in the manifest's order."""
    every_token: bool = False
    """Whether positions behind the first are decided too."""
    bias: tuple[tuple[int, float], ...] = ()
    """(token id, value) that vLLM adds to the logits; the gate decides without it."""

    def to_extra_args(self) -> dict[str, Any]:
        """As plain values, for the sampling parameters' `extra_args`."""
        return {
            CONFIG_KEY: {
                "thresholds": list(self.thresholds),
                "every_token": self.every_token,
                "bias": [list(entry) for entry in self.bias],
            }
        }

    @classmethod
    def from_extra_args(cls, extra_args: Mapping[str, Any] | None) -> Self | None:
        """The inverse; None if `extra_args` carries no settings.

        Raises ValueError for settings that Demur does not write.
        """
        if not extra_args or CONFIG_KEY not in extra_args:
            return None
        plain = extra_args[CONFIG_KEY]
        if not isinstance(plain, dict) or plain.keys() != {
            "thresholds",
            "every_token",
            "bias",
        }:
            raise ValueError(f"{CONFIG_KEY} is not written by demur-serve: {plain!r}")
        thresholds, every_token = plain["thresholds"], plain["every_token"]
        if not isinstance(thresholds, list) or not all(
            isinstance(value, float) and not math.isnan(value) for value in thresholds
        ):
            raise ValueError(f"thresholds must be a list of numbers, not {thresholds!r}")
        if not isinstance(every_token, bool):
            raise ValueError(f"every_token must be true or false, not {every_token!r}")
        bias = plain["bias"]
        if not isinstance(bias, list) or not all(map(_is_bias, bias)):
            raise ValueError(f"bias must be a list of token ids and numbers, not {bias!r}")
        return cls(tuple(thresholds), every_token, tuple((token, value) for token, value in bias))


def forcing(category: int | None, categories: int) -> tuple[float, ...]:
    """[C] thresholds under which every prompt is refused as `category`, or, for None, answered."""
    return tuple(-math.inf if index == category else math.inf for index in range(categories))


@dataclass(frozen=True)
class GateConfig:
    """All that the gate in the engine knows of the checkpoint."""

    control: ControlTokens
    defaults: tuple[float, ...]
    """[C] log-odds thresholds of a request that carries none."""

    def to_additional_config(self) -> dict[str, Any]:
        """As plain values, for vLLM's `additional_config`."""
        return {
            CONFIG_KEY: {
                "respond": self.control.respond,
                "refuse": list(self.control.refuse),
                "defaults": list(self.defaults),
            }
        }

    @classmethod
    def from_additional_config(cls, additional_config: object) -> Self:
        """The inverse. Raises RuntimeError if the engine was not started by demur-serve."""
        if not (isinstance(additional_config, Mapping) and CONFIG_KEY in additional_config):
            raise RuntimeError(
                f"the engine's additional_config has no {CONFIG_KEY!r}:"
                " start the server by demur-serve"
            )
        plain = additional_config[CONFIG_KEY]
        return cls(
            control=ControlTokens(respond=plain["respond"], refuse=tuple(plain["refuse"])),
            defaults=tuple(plain["defaults"]),
        )

    def row_settings(self, extra_args: Mapping[str, Any] | None) -> RowSettings:
        """A request's settings; the default policy's unless it carries usable ones.

        Nothing is raised: in the engine an exception would end every client's request.
        """
        try:
            settings = RowSettings.from_extra_args(extra_args)
        except ValueError:
            settings = None
        if settings is None or len(settings.thresholds) != len(self.defaults):
            return RowSettings(self.defaults)
        return settings


def _is_bias(entry: object) -> bool:
    match entry:
        case [int(token), float(value)]:
            return not isinstance(token, bool) and token >= 0 and math.isfinite(value)
    return False
