"""What an operator lets clients ask of the gate."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from steering.manifest import Scope


class BoundsError(ValueError):
    """Bounds that a checkpoint cannot keep, or that contradict each other."""

    def __init__(self, category: str | None, message: str) -> None:
        super().__init__(message)
        self.category = category
        """The category that they are about; None for the scopes."""


@dataclass(frozen=True)
class Range:
    """One category's rates, between 0 and 1. Raises BoundsError unless they are in order."""

    default: float | None = None
    """For requests that leave the category out; None for the model's own habit, moved to the
    nearest bound where it lies outside."""
    floor: float = 0.0
    ceiling: float = 1.0

    def __post_init__(self) -> None:
        if self.floor > self.ceiling:
            raise BoundsError(None, f"floor {self.floor:g} is above ceiling {self.ceiling:g}")
        if self.default is not None and not self.floor <= self.default <= self.ceiling:
            raise BoundsError(
                None,
                f"default {self.default:g} is not between floor {self.floor:g} and ceiling"
                f" {self.ceiling:g}",
            )


@dataclass(frozen=True)
class Bounds:
    """Defaults and limits for the requests of one client, or of all."""

    ranges: Mapping[str, Range] = field(default_factory=dict)
    """By category; one that is left out has no bounds."""
    scope: Scope | None = None
    """For requests that name none; None for the first that is allowed."""
    scopes: tuple[Scope, ...] | None = None
    """What requests may ask for; None for all that the checkpoint was trained for."""


OPEN = Bounds()
