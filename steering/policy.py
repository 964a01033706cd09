"""From what a request asks for to the thresholds that the gate applies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from steering.calibration import COMPLY, CalibrationScores
from steering.manifest import Manifest

HABIT = 0.0
"""Log-odds of p = 0.5: the model's own habit, for categories that a request leaves out."""


class SettingsError(ValueError):
    """A request asks for something that this checkpoint cannot give."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True)
class Settings:
    """What a request asks for. Rates and thresholds lie between 0 and 1."""

    rates: Mapping[str, float] | float | None = None
    """Share of each category's prompts to refuse; a single number stands for all categories."""
    thresholds: Mapping[str, float] | None = None
    """Probability of the refuse token from which on a prompt is refused."""


@dataclass(frozen=True)
class Steering:
    """What the gate applies for one request."""

    thresholds: tuple[float, ...]
    """[C] log-odds, in the manifest's order; +inf switches a category off."""
    effective_rates: Mapping[str, float] | None
    """Share of each category's calibration prompts that is refused; None if not calibrated."""
    over_refusal: float | None
    """Share of harmless calibration prompts that is refused; None if not known."""


class Policy:
    """Resolves settings for one checkpoint. Not locked: one per process is enough."""

    _CACHED = 4096
    """Settings that are remembered: clients repeat themselves."""

    def __init__(self, manifest: Manifest, scores: CalibrationScores | None) -> None:
        self.categories = manifest.names
        self._scores = scores
        self._cache: dict[object, Steering] = {}

    @property
    def calibrated(self) -> bool:
        """Whether rates can be served."""
        return self._scores is not None

    def resolve(self, settings: Settings) -> Steering:
        """The thresholds that `settings` mean for this checkpoint.

        Raises SettingsError, with the request's field, for an unknown category, a rate and a
        threshold for the same category, or a rate where there is no calibration.
        """
        key = (_frozen(settings.rates), _frozen(settings.thresholds))
        steering = self._cache.get(key)
        if steering is None:
            steering = self._resolve(settings)
            if len(self._cache) >= self._CACHED:
                self._cache.clear()
            self._cache[key] = steering
        return steering

    def _resolve(self, settings: Settings) -> Steering:
        rates = settings.rates
        if isinstance(rates, (int, float)):
            rates = dict.fromkeys(self.categories, float(rates))
        rates, thresholds = rates or {}, settings.thresholds or {}
        self._check_names("refusal_rates", rates)
        self._check_names("refusal_thresholds", thresholds)
        both = [name for name in self.categories if name in rates and name in thresholds]
        if both:
            raise SettingsError(
                "refusal_thresholds",
                f"{_listed(both)} has a rate in refusal_rates too; give one of the two",
            )
        resolved = [HABIT] * len(self.categories)
        for name, rate in rates.items():
            resolved[self.categories.index(name)] = self._threshold(name, rate)
        for name, probability in thresholds.items():
            resolved[self.categories.index(name)] = log_odds_of(probability)
        return self._steering(tuple(resolved))

    def _threshold(self, name: str, rate: float) -> float:
        if rate == 0:
            return math.inf
        if self._scores is None:
            raise SettingsError(
                "refusal_rates",
                "this checkpoint is not calibrated; send refusal_thresholds, or run"
                " demur-calibrate on it",
            )
        category = self.categories.index(name)
        if not (self._scores.labels == category).any():
            raise SettingsError(
                "refusal_rates",
                f"{name!r} was not calibrated; send a threshold for it in refusal_thresholds",
            )
        return self._scores.threshold(category, rate)

    def _steering(self, thresholds: tuple[float, ...]) -> Steering:
        if self._scores is None:
            return Steering(thresholds, None, None)
        shares = self._scores.refused_shares(thresholds)
        over_refusal = shares.pop(COMPLY, None)
        return Steering(thresholds, shares, over_refusal)

    def _check_names(self, field: str, values: Mapping[str, float]) -> None:
        unknown = [name for name in values if name not in self.categories]
        if unknown:
            raise SettingsError(
                field,
                f"unknown category {_listed(unknown)}; known categories:"
                f" {', '.join(self.categories)}",
            )


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


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
