"""What travels between Demur's front end and the gate in the engine.

Once per engine, in vLLM's `additional_config`: the control tokens and the default thresholds. Once
per request, in the sampling parameters' `extra_args`: that request's thresholds. Only Demur writes
either; a client's `vllm_xargs` never reach the engine.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from steering.tokens import ControlTokens

CONFIG_KEY = "demur"
THRESHOLDS_KEY = "demur_thresholds"


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


def to_extra_args(thresholds: Sequence[float]) -> dict[str, list[float]]:
    """A request's thresholds ([C] log-odds) as sampling parameters' `extra_args`."""
    return {THRESHOLDS_KEY: list(thresholds)}


def thresholds_of(extra_args: Mapping[str, Any] | None) -> list[float] | None:
    """The thresholds that `extra_args` carries, None if it carries none.

    Raises ValueError if they are not a list of numbers, NaN excluded.
    """
    if not extra_args or THRESHOLDS_KEY not in extra_args:
        return None
    values = extra_args[THRESHOLDS_KEY]
    if not isinstance(values, list) or not all(
        isinstance(value, float) and not math.isnan(value) for value in values
    ):
        raise ValueError(f"{THRESHOLDS_KEY} must be a list of numbers, not {values!r}")
    return values
