"""From what a request asks for to the thresholds that the gate applies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from steering.bounds import OPEN, Bounds, BoundsError, Range
from steering.calibration import COMPLY, CalibrationScores
from steering.manifest import Manifest, Scope

HABIT = 0.0
"""Log-odds of p = 0.5: the model's own habit, for categories that a request leaves out."""


class SettingsError(ValueError):
    """A request asks for something that this checkpoint cannot give."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.what = message


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


@dataclass(frozen=True)
class _Limits:
    """A category's range as thresholds in log-odds; the higher one refuses less."""

    default: float
    strictest: float
    mildest: float


class Policy:
    """Resolves settings for one checkpoint within an operator's bounds.

    Not locked: one per process and set of bounds is enough. Raises BoundsError for bounds that this
    checkpoint cannot keep.
    """

    _CACHED = 4096
    """Settings that are remembered: clients repeat themselves."""

    def __init__(
        self, manifest: Manifest, scores: CalibrationScores | None, bounds: Bounds = OPEN
    ) -> None:
        self.categories = manifest.names
        self.bounds = bounds
        self._scores = scores
        self._cache: dict[object, Steering] = {}
        for name in bounds.ranges:
            if name not in self.categories:
                raise BoundsError(name, _unknown([name], self.categories))
        self._limits = {name: self._limits_of(name) for name in self.categories}
        self._scopes = bounds.scopes or manifest.scopes
        self._scope = bounds.scope or self._scopes[0]
        _check_scopes(self._scopes, self._scope, manifest.scopes)

    @property
    def calibrated(self) -> bool:
        """Whether rates can be served."""
        return self._scores is not None

    def scope(self, asked: Scope | None) -> Scope:
        """The scope of a request that asks for `asked`, or for none.

        Raises SettingsError if the checkpoint was not trained for it or the operator forbids it.
        """
        scope = asked or self._scope
        if scope not in self._scopes:
            raise SettingsError(
                "refusal_scope", f"must be {' or '.join(self._scopes)} here, not {scope}"
            )
        return scope

    def resolve(self, settings: Settings) -> Steering:
        """The thresholds that `settings` mean for this checkpoint.

        Raises SettingsError, with the request's field, for an unknown category, a rate and a
        threshold for the same category, a rate where there is no calibration, or what the operator
        does not allow.
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
        resolved = {name: limits.default for name, limits in self._limits.items()}
        for name, rate in rates.items():
            self._check_rate(name, rate)
            resolved[name] = self._threshold(name, rate)
        for name, probability in thresholds.items():
            resolved[name] = log_odds_of(probability)
            self._check_threshold(name, probability)
        return self._steering(tuple(resolved.values()))

    def _limits_of(self, name: str) -> _Limits:
        allowed = self.bounds.ranges.get(name, Range())
        try:
            strictest = self._threshold(name, allowed.ceiling) if allowed.ceiling < 1 else -math.inf
            mildest = self._threshold(name, allowed.floor)
            if allowed.default is None:
                default = min(max(HABIT, strictest), mildest)
            else:
                default = self._threshold(name, allowed.default)
        except SettingsError as error:
            raise BoundsError(name, error.what) from error
        return _Limits(default, strictest, mildest)

    def _check_rate(self, name: str, rate: float) -> None:
        allowed = self.bounds.ranges.get(name, Range())
        if rate < allowed.floor:
            bound = f"below the floor of {allowed.floor:g}"
        elif rate > allowed.ceiling:
            bound = f"above the ceiling of {allowed.ceiling:g}"
        else:
            return
        raise SettingsError("refusal_rates", f"{name}: {rate:g} is {bound} that the operator set")

    def _check_threshold(self, name: str, probability: float) -> None:
        limits, threshold = self._limits[name], log_odds_of(probability)
        allowed = self.bounds.ranges.get(name, Range())
        if threshold > limits.mildest:
            bound = f"at most {probability_of(limits.mildest):.9g}, the floor of {allowed.floor:g}"
        elif threshold < limits.strictest:
            least = probability_of(limits.strictest)
            bound = f"at least {least:.9g}, the ceiling of {allowed.ceiling:g}"
        else:
            return
        raise SettingsError(
            "refusal_thresholds",
            f"{name}: {probability:g} must be {bound} that the operator set on its rate",
        )

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
            raise SettingsError(field, _unknown(unknown, self.categories))


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


def _check_scopes(allowed: tuple[Scope, ...], default: Scope, trained: tuple[Scope, ...]) -> None:
    for scope in allowed:
        if scope not in trained:
            raise BoundsError(
                None, f"this checkpoint was trained for {' and '.join(trained)}, not {scope}"
            )
    if default not in allowed:
        raise BoundsError(None, f"the default scope {default} is not among those allowed")


def _unknown(names: list[str], known: tuple[str, ...]) -> str:
    return f"unknown category {_listed(names)}; known categories: {', '.join(known)}"


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
