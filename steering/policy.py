"""From what a request asks for to the thresholds that the gate applies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from steering.bounds import OPEN, Bounds, BoundsError, Range
from steering.calibration import CalibrationScores
from steering.intervals import unresolved
from steering.joint import Asked, Joint, JointSolver
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
    warnings: tuple[str, ...] = ()
    """What does not come out as asked: a sentence each."""


@dataclass(frozen=True)
class _Limits:
    """A category's range as thresholds in log-odds; the higher one refuses less."""

    habit: float
    """For requests that leave the category out, where the operator has no default rate."""
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
        self._solver = None if scores is None else JointSolver(scores)
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
        return self._solver is not None

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
        for name, rate in rates.items():
            self._check_rate(name, rate)
        for name, probability in thresholds.items():
            self._check_threshold(name, probability)
        return self._steering(rates, {name: log_odds_of(p) for name, p in thresholds.items()})

    def _limits_of(self, name: str) -> _Limits:
        allowed = self.bounds.ranges.get(name, Range())
        try:
            strictest = self._threshold(name, allowed.ceiling) if allowed.ceiling < 1 else -math.inf
            mildest = self._threshold(name, allowed.floor)
            if allowed.default is not None:
                self._threshold(name, allowed.default)
        except SettingsError as error:
            raise BoundsError(name, error.what) from error
        return _Limits(min(max(HABIT, strictest), mildest), strictest, mildest)

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
        """Where the category alone has this rate."""
        if rate == 0:
            return math.inf
        if self._solver is None:
            raise SettingsError(
                "refusal_rates",
                "this checkpoint is not calibrated; send refusal_thresholds, or run"
                " demur-calibrate on it",
            )
        scores = self._solver.calibration
        category = self.categories.index(name)
        if not (scores.labels == category).any():
            raise SettingsError(
                "refusal_rates",
                f"{name!r} was not calibrated; send a threshold for it in refusal_thresholds",
            )
        return scores.threshold(category, rate)

    def _steering(self, rates: Mapping[str, float], thresholds: Mapping[str, float]) -> Steering:
        """Rates and thresholds ([log-odds]) of a request, with the defaults of what it leaves."""
        wanted: dict[str, float] = {}
        fixed: dict[str, float] = {}
        for name, limits in self._limits.items():
            default = self.bounds.ranges.get(name, Range()).default
            rate = rates.get(name, None if name in thresholds else default)
            if rate is None:
                fixed[name] = thresholds.get(name, limits.habit)
            else:
                fixed[name] = self._threshold(name, rate)
                wanted[name] = rate
        if self._solver is None:
            return Steering(tuple(fixed.values()), None, None)
        asked = [wanted.get(name) for name in self.categories]
        return self._joint(wanted, self._solver.solve(Asked(asked, tuple(fixed.values()))))

    def _joint(self, wanted: Mapping[str, float], joint: Joint) -> Steering:
        shares = dict(zip(self.categories, joint.shares, strict=True))
        warnings = []
        for name, off_by, prompts in zip(self.categories, joint.off_by, joint.prompts, strict=True):
            if off_by > 0:
                warnings.append(
                    f"{name}: {shares[name]:.3g} of its prompts are refused, {off_by:.3g} more than"
                    " asked, since what is asked of other categories refuses them"
                )
            elif name in wanted and prompts:
                fine = unresolved(name, wanted[name], prompts)
                warnings.extend([fine] if fine else [])
        return Steering(
            joint.thresholds,
            {name: share for name, share in shares.items() if share is not None},
            joint.over_refusal,
            tuple(warnings),
        )

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
