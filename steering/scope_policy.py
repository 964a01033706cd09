"""From settings to the thresholds that the gate applies, in one scope."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steering.bounds import BoundsError, Range
from steering.budget import spend
from steering.calibration import CalibrationError, CalibrationScores
from steering.intervals import unresolved
from steering.joint import Asked, Joint, JointSolver, solver_of
from steering.problem import NotQuickError
from steering.settings import (
    Budget,
    Settings,
    SettingsError,
    Steering,
    log_odds_of,
    probability_of,
)

HABIT = 0.0
"""Log-odds of p = 0.5: the model's own habit, for categories that a request leaves out."""
RATES, THRESHOLDS, BUDGET = "refusal_rates", "refusal_thresholds", "over_refusal_budget"
"""Fields of a request."""


@dataclass(frozen=True)
class _Limits:
    """A category's range as thresholds in log-odds; the higher one refuses less."""

    habit: float
    """For requests that leave the category out, where the operator has no default rate."""
    strictest: float
    mildest: float


class ScopePolicy:
    """Resolves settings within an operator's ranges, for one scope's calibration.

    Raises BoundsError, naming the category, for a range that this calibration cannot keep.
    """

    def __init__(
        self,
        categories: Sequence[str],
        scores: CalibrationScores | None,
        ranges: Mapping[str, Range],
    ) -> None:
        """scores: None where the scope is not calibrated; ranges: by category, all others open."""
        self.categories = tuple(categories)
        self.solver = None if scores is None else solver_of(scores)
        """None where the scope is not calibrated: then there are thresholds, but no rates."""
        prompts = [0] * len(categories) if self.solver is None else self.solver.prompts
        self._calibrated = frozenset(
            name for name, count in zip(self.categories, prompts, strict=True) if count
        )
        """Categories that have calibration prompts, and so may have rates."""
        self._ranges = ranges
        self._limits = {name: self._limits_of(name) for name in self.categories}

    def resolve(self, settings: Settings, *, quick: bool = False) -> Steering:
        """The thresholds that `settings` mean.

        Raises SettingsError, with the request's field, for an unknown category, several settings of
        the same category, a rate where there is no calibration, or what is out of range; and
        NotQuickError, if `quick`, where the answer takes more than a millisecond or so.
        """
        asked = self.asked(settings)
        if self.solver is None:
            if settings.budget is not None:
                raise self._uncalibrated(BUDGET)
            return Steering(tuple(asked.thresholds), None, None)
        if settings.budget is None:
            return self._steering(self.solver.solve(asked, quick=quick))
        if quick:
            raise NotQuickError
        return self._spend(self.solver, settings.budget, self._spenders(settings), asked)

    def asked(self, settings: Settings) -> Asked:
        """What `settings` ask of every category, with the defaults of those they leave out.

        Raises SettingsError, as `resolve` does, but for what concerns a budget.
        """
        rates, thresholds = self._rates(settings), settings.thresholds or {}
        self._check_names(RATES, rates)
        self._check_names(THRESHOLDS, thresholds)
        self._check_twice(THRESHOLDS, [name for name in thresholds if name in rates])
        for name, share in rates.items():
            self._check_rate(name, share)
        for name, probability in thresholds.items():
            self._check_threshold(name, probability)
        wanted: list[float | None] = []
        fixed: list[float] = []
        for name, limits in self._limits.items():
            rate: float | None = rates.get(name)
            if rate is None and name not in thresholds:
                rate = self._range(name).default
            wanted.append(rate)
            if rate:
                self._check_calibrated(name)
            own = log_odds_of(thresholds[name]) if name in thresholds else limits.habit
            fixed.append(own if rate is None else math.inf)
        return Asked(wanted, fixed)

    def _rates(self, settings: Settings) -> Mapping[str, float]:
        if isinstance(settings.rates, (int, float)):
            return dict.fromkeys(self.categories, float(settings.rates))
        return settings.rates or {}

    def _spenders(self, settings: Settings) -> list[int]:
        """Indices of the categories that a budget is for; raises SettingsError."""
        assert settings.budget is not None
        taken = {*self._rates(settings), *(settings.thresholds or {})}
        named = settings.budget.categories
        if named is None:
            named = tuple(
                name
                for name in self.categories
                if name not in taken and name in self._calibrated and self._range(name).ceiling > 0
            )
        self._check_names(BUDGET, named)
        self._check_twice(BUDGET, [name for name in named if name in taken])
        if not named:
            raise SettingsError(BUDGET, "there is no category left to spend it on")
        for name in named:
            if name not in self._calibrated:
                raise SettingsError(BUDGET, f"{name!r} was not calibrated")
        return sorted({self.categories.index(name) for name in named})

    def _spend(
        self, solver: JointSolver, budget: Budget, spenders: Sequence[int], asked: Asked
    ) -> Steering:
        """As much of the categories `spenders` as the budget and their ranges allow."""
        limits = [
            limits if index in spenders else _Limits(HABIT, -math.inf, math.inf)
            for index, limits in enumerate(self._limits.values())
        ]
        rest = Asked(
            asked.rates,
            asked.thresholds,
            lowest=[own.strictest for own in limits],
            highest=[own.mildest for own in limits],
        )
        try:
            spent = spend(solver, budget.share, spenders, rest)
        except CalibrationError as error:
            raise SettingsError(BUDGET, str(error)) from error
        warnings: tuple[str, ...] = ()
        if not spent.kept:
            warnings = (
                f"a budget of {budget.share:g} cannot be kept: {spent.joint.over_refusal:.3g} of"
                " the harmless prompts are refused by the other categories' settings and by the"
                " operator's floors",
            )
        return self._steering(spent.joint, spenders, warnings, spent.rate)

    def _steering(
        self,
        joint: Joint,
        spenders: Sequence[int] = (),
        warnings: tuple[str, ...] = (),
        budget_rate: float | None = None,
    ) -> Steering:
        shares = dict(zip(self.categories, joint.shares, strict=True))
        return Steering(
            joint.thresholds,
            {name: share for name, share in shares.items() if share is not None},
            joint.over_refusal,
            (*warnings, *self._warnings(joint, spenders)),
            budget_rate,
            joint,
        )

    def _warnings(self, joint: Joint, spenders: Sequence[int]) -> list[str]:
        warnings = []
        rows = zip(
            self.categories, joint.rates, joint.shares, joint.off_by, joint.prompts, strict=True
        )
        for index, (name, rate, share, off_by, prompts) in enumerate(rows):
            if index in spenders:
                continue
            if off_by > 0:
                warnings.append(
                    f"{name}: {share:.3g} of its prompts are refused, {off_by:.3g} more than asked,"
                    " since what is asked of other categories refuses them or scores tie"
                )
            elif rate is not None and prompts:
                fine = unresolved(name, rate, prompts)
                warnings.extend([fine] if fine else [])
        return warnings

    def _limits_of(self, name: str) -> _Limits:
        allowed = self._range(name)
        try:
            strictest = self._alone(name, allowed.ceiling) if allowed.ceiling < 1 else -math.inf
            mildest = self._alone(name, allowed.floor)
            if allowed.default is not None:
                self._alone(name, allowed.default)
        except SettingsError as error:
            raise BoundsError(name, error.what) from error
        return _Limits(min(max(HABIT, strictest), mildest), strictest, mildest)

    def _range(self, name: str) -> Range:
        return self._ranges.get(name, Range())

    def _alone(self, name: str, rate: float) -> float:
        """The threshold, in log-odds, where the category by itself has this rate."""
        if rate == 0:
            return math.inf
        solver = self._check_calibrated(name)
        return solver.calibration.threshold(self.categories.index(name), rate)

    def _check_calibrated(self, name: str) -> JointSolver:
        """What a rate other than 0 of the category is solved by."""
        if self.solver is None:
            raise self._uncalibrated(RATES)
        if name not in self._calibrated:
            raise SettingsError(
                RATES, f"{name!r} was not calibrated; send a threshold for it in {THRESHOLDS}"
            )
        return self.solver

    def _check_rate(self, name: str, rate: float) -> None:
        allowed = self._range(name)
        if rate < allowed.floor:
            bound = f"below the floor of {allowed.floor:g}"
        elif rate > allowed.ceiling:
            bound = f"above the ceiling of {allowed.ceiling:g}"
        else:
            return
        raise SettingsError(RATES, f"{name}: {rate:g} is {bound} that the operator set")

    def _check_threshold(self, name: str, probability: float) -> None:
        limits, threshold = self._limits[name], log_odds_of(probability)
        allowed = self._range(name)
        if threshold > limits.mildest:
            bound = f"at most {probability_of(limits.mildest):.9g}, the floor of {allowed.floor:g}"
        elif threshold < limits.strictest:
            least = probability_of(limits.strictest)
            bound = f"at least {least:.9g}, the ceiling of {allowed.ceiling:g}"
        else:
            return
        raise SettingsError(
            THRESHOLDS,
            f"{name}: {probability:g} must be {bound} that the operator set on its rate",
        )

    def _check_names(self, field: str, names: Mapping[str, float] | Sequence[str]) -> None:
        strangers = [name for name in names if name not in self.categories]
        if strangers:
            raise SettingsError(field, unknown(strangers, self.categories))

    def _check_twice(self, field: str, twice: Sequence[str]) -> None:
        if not twice:
            return
        other = RATES if field == THRESHOLDS else f"{RATES} or {THRESHOLDS}"
        raise SettingsError(field, f"{_listed(twice)} is set in {other} too; give one of the two")

    def _uncalibrated(self, field: str) -> SettingsError:
        return SettingsError(
            field,
            f"this checkpoint is not calibrated; send {THRESHOLDS}, or run demur-calibrate on it",
        )


def unknown(names: Sequence[str], known: Sequence[str]) -> str:
    """What to tell who names categories that are not `known`."""
    return f"unknown category {_listed(names)}; known categories: {', '.join(known)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
