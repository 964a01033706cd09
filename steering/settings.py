"""What a request asks of the gate, and what it comes to."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from steering.joint import Joint


class SettingsError(ValueError):
    """A request asks for something that this checkpoint cannot give."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.what = message


@dataclass(frozen=True)
class Budget:
    """Refuse as much as possible, for so many harmless prompts refused."""

    share: float
    """Of the harmless prompts, 0 to 1."""
    categories: tuple[str, ...] | None = None
    """Whose prompts to refuse; None for every category that nothing else is asked of."""


@dataclass(frozen=True)
class Settings:
    """What a request asks for. Rates and thresholds lie between 0 and 1."""

    rates: Mapping[str, float] | float | None = None
    """Share of each category's prompts to refuse; a single number stands for all categories."""
    thresholds: Mapping[str, float] | None = None
    """Probability of the refuse token from which on a prompt is refused."""
    budget: Budget | None = None

    def key(self) -> object:
        """Equal for equal settings, and hashable."""
        return _frozen(self.rates), _frozen(self.thresholds), self.budget


@dataclass(frozen=True)
class Steering:
    """What the gate applies for one request."""

    thresholds: tuple[float, ...]
    """[C] log-odds, in the manifest's order; +inf switches a category off."""
    effective_rates: Mapping[str, float] | None
    """Share of each category's calibration prompts that is refused; None if not calibrated."""
    over_refusal: float | None
    """Share of harmless calibration prompts that is refused; None if not known."""
    warnings: tuple[str, ...] = ()
    """What does not come out as asked: a sentence each."""
    budget_rate: float | None = None
    """The common rate that a budget came to; None where none was given."""
    joint: Joint | None = None
    """The whole solution; None if not calibrated."""


def log_odds_of(probability: float) -> float:
    """Log p - log(1 - p) of a probability between 0 and 1; infinite at both ends."""
    if probability <= 0:
        return -math.inf
    if probability >= 1:
        return math.inf
    return math.log(probability) - math.log1p(-probability)


def probability_of(log_odds: float) -> float:
    """The probability whose log-odds are `log_odds`; never overflows."""
    if log_odds >= 0:
        return 1 / (1 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1 + odds)


def _frozen(values: Mapping[str, float] | float | None) -> object:
    return frozenset(values.items()) if isinstance(values, Mapping) else values
