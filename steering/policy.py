"""What one client may ask for, and what it gets."""

from dataclasses import replace

from steering.bounds import OPEN, Bounds, BoundsError
from steering.calibration import ScopedScores
from steering.manifest import Manifest, Scope
from steering.scope_policy import ScopePolicy, unknown
from steering.settings import Settings, SettingsError, Steering
from steering.shapes import uncovered


class Policy:
    """Resolves settings for one checkpoint within an operator's bounds.

    One per process and set of bounds is enough; threads may share it. Raises BoundsError for bounds
    that this checkpoint cannot keep.
    """

    _CACHED = 4096
    """Settings that are remembered: clients repeat themselves."""

    def __init__(self, manifest: Manifest, scores: ScopedScores, bounds: Bounds = OPEN) -> None:
        self.categories = manifest.names
        self.bounds = bounds
        for name in bounds.ranges:
            if name not in self.categories:
                raise BoundsError(name, unknown([name], self.categories))
        self.scopes = bounds.scopes or manifest.scopes
        """What requests may ask for."""
        self.default_scope = bounds.scope or self.scopes[0]
        """Of requests that name none."""
        _check_scopes(self.scopes, self.default_scope, manifest.scopes)
        self._by_scope = {
            scope: ScopePolicy(self.categories, scores.get(scope), bounds.ranges)
            for scope in self.scopes
        }
        self.shapes = None if manifest.calibration is None else manifest.calibration.shapes
        """Number of calibration prompts by feature; None where it is not known."""
        self._cache: dict[object, Steering] = {}

    def within(self, scope: Scope | None = None) -> ScopePolicy:
        """The policy in a scope that is allowed; None for the default scope."""
        return self._by_scope[scope or self.default_scope]

    @property
    def calibrated(self) -> bool:
        """Whether rates can be served where a request names no scope."""
        return self.within().solver is not None

    def scope(self, asked: Scope | None) -> Scope:
        """The scope of a request that asks for `asked`, or for none.

        Raises SettingsError if the checkpoint was not trained for it or the operator forbids it.
        """
        scope = asked or self.default_scope
        if scope not in self.scopes:
            raise SettingsError(
                "refusal_scope", f"must be {' or '.join(self.scopes)} here, not {scope}"
            )
        return scope

    def resolve(
        self, settings: Settings, scope: Scope | None = None, *, quick: bool = False
    ) -> Steering:
        """The thresholds that `settings` mean for this checkpoint; scope: as `within` takes it.

        Raises SettingsError, with the request's field, for an unknown category, several settings of
        the same category, a rate where there is no calibration, or what the operator does not
        allow; and NotQuickError, if `quick`, where the answer takes more than a millisecond or so.
        """
        key = self._key(settings, scope)
        steering = self._cache.get(key)
        if steering is None:
            steering = self.within(scope).resolve(settings, quick=quick)
            if len(self._cache) >= self._CACHED:
                self._cache.clear()
            self._cache[key] = steering
        return steering

    def warned(self, steering: Steering, shape: int) -> Steering:
        """For a prompt of this shape: warns of each feature that no calibration prompt has.

        Nothing is added where the settings come to no rates, since nothing is promised then.
        """
        if self.shapes is None or steering.effective_rates is None:
            return steering
        warnings = uncovered(self.shapes, shape)
        if not warnings:
            return steering
        return replace(steering, warnings=(*steering.warnings, *warnings))

    def remembers(self, settings: Settings, scope: Scope | None = None) -> bool:
        """Whether `resolve` need not solve these settings anew."""
        return self._key(settings, scope) in self._cache

    def _key(self, settings: Settings, scope: Scope | None) -> object:
        return scope or self.default_scope, settings.key()


def _check_scopes(allowed: tuple[Scope, ...], default: Scope, trained: tuple[Scope, ...]) -> None:
    for scope in allowed:
        if scope not in trained:
            raise BoundsError(
                None, f"this checkpoint was trained for {' and '.join(trained)}, not {scope}"
            )
    if default not in allowed:
        raise BoundsError(None, f"the default scope {default} is not among those allowed")
