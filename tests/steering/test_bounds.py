import math

import numpy as np
import pytest

from steering.bounds import Bounds, BoundsError, Range
from steering.calibration import COMPLY_INDEX, CalibrationScores, ScopedScores
from steering.manifest import Category, Manifest
from steering.policy import Policy
from steering.scope_policy import HABIT
from steering.settings import Settings, SettingsError

INF = math.inf
MANIFEST = Manifest(
    respond_token="<|respond|>",
    categories=(
        Category(name="safety", token="<|refuse:safety|>"),
        Category(name="temporal", token="<|refuse:temporal|>"),
    ),
    scopes=("first_token", "every_token"),
)
# Four prompts of safety at the log-odds 4, 3, 2, 1; of temporal none.
SCORES = CalibrationScores(
    categories=MANIFEST.names,
    labels=np.array([0, 0, 0, 0, COMPLY_INDEX]),
    scores=np.array([[4, -9], [3, -9], [2, -9], [1, -9], [-9, -9]], dtype=np.float32),
)


def scoped(scores: CalibrationScores) -> ScopedScores:
    return {"first_token": scores, "every_token": scores}


def policy(**safety: float) -> Policy:
    return Policy(MANIFEST, scoped(SCORES), Bounds({"safety": Range(**safety)}))


def threshold(policy: Policy, settings: Settings | None = None) -> float:
    return policy.resolve(settings or Settings()).thresholds[0]


class TestRange:
    @pytest.mark.parametrize(
        ("fields", "what"),
        [
            ({"floor": 0.6, "ceiling": 0.5}, "floor 0.6 is above ceiling 0.5"),
            ({"floor": 0.6, "default": 0.5}, "default 0.5 is not between floor 0.6 and ceiling 1"),
            ({"ceiling": 0.4, "default": 0.5}, "not between floor 0 and ceiling 0.4"),
        ],
    )
    def test_must_be_in_order(self, fields: dict[str, float], what: str) -> None:
        with pytest.raises(BoundsError, match=what):
            Range(**fields)


class TestDefaults:
    def test_are_the_operators(self) -> None:
        assert threshold(policy(default=0.5)) == 3
        assert policy(default=0.5).resolve(Settings()).thresholds[1] == HABIT

    def test_give_way_to_the_request(self) -> None:
        assert threshold(policy(default=0.5), Settings(rates={"safety": 1.0})) == 1

    @pytest.mark.parametrize(
        ("bounds", "expected"),
        [({"floor": 0.25}, HABIT), ({"ceiling": 0.5}, 3), ({"ceiling": 0}, INF)],
    )
    def test_are_the_habit_within_the_bounds(
        self, bounds: dict[str, float], expected: float
    ) -> None:
        assert threshold(policy(**bounds)) == expected

    def test_reach_the_floor_from_a_habit_that_is_too_mild(self) -> None:
        shy = CalibrationScores(MANIFEST.names, SCORES.labels, SCORES.scores - 8)
        bounded = Policy(MANIFEST, scoped(shy), Bounds({"safety": Range(floor=0.5)}))
        assert threshold(bounded) == -5


class TestRates:
    @pytest.mark.parametrize("rate", [0.5, 0.75])
    def test_within_the_bounds_are_served(self, rate: float) -> None:
        bounded = policy(floor=0.5, ceiling=0.75)
        assert threshold(bounded, Settings(rates={"safety": rate})) == 5 - 4 * rate

    @pytest.mark.parametrize(
        ("rate", "what"), [(0.4, "below the floor of 0.5"), (0.8, "above the ceiling of 0.75")]
    )
    def test_beyond_the_bounds_are_refused(self, rate: float, what: str) -> None:
        with pytest.raises(SettingsError, match=f"safety: {rate} is {what}") as caught:
            policy(floor=0.5, ceiling=0.75).resolve(Settings(rates={"safety": rate}))
        assert caught.value.field == "refusal_rates"

    def test_for_all_categories_meet_each_bound(self) -> None:
        with pytest.raises(SettingsError, match=r"safety: 0\.1 is below"):
            policy(floor=0.5).resolve(Settings(rates=0.1))


class TestThresholds:
    def test_cannot_go_round_the_floor(self) -> None:
        bounded = policy(floor=0.5)  # the log-odds 3: p = 0.9526
        assert threshold(bounded, Settings(thresholds={"safety": 0.95})) < 3
        with pytest.raises(SettingsError, match=r"at most 0\.9525\d+, the floor of 0\.5"):
            bounded.resolve(Settings(thresholds={"safety": 0.96}))

    def test_cannot_go_round_the_ceiling(self) -> None:
        bounded = policy(ceiling=0.5)
        assert threshold(bounded, Settings(thresholds={"safety": 0.96})) > 3
        for probability in (0.95, 0.0):
            with pytest.raises(SettingsError, match=r"at least 0\.9525\d+, the ceiling of 0\.5"):
                bounded.resolve(Settings(thresholds={"safety": probability}))

    def test_are_free_without_bounds(self) -> None:
        assert threshold(policy(), Settings(thresholds={"safety": 0})) == -INF
        assert threshold(policy(), Settings(thresholds={"safety": 1})) == INF

    def test_stay_free_below_a_ceiling_of_one(self) -> None:
        assert threshold(policy(ceiling=1), Settings(thresholds={"safety": 0})) == -INF


class TestWhatACheckpointCannotKeep:
    @pytest.mark.parametrize(
        ("bounds", "category", "what"),
        [
            (Bounds({"safty": Range()}), "safty", "unknown category 'safty'"),
            (Bounds({"temporal": Range(floor=0.1)}), "temporal", "was not calibrated"),
            (Bounds({"temporal": Range(ceiling=0.9)}), "temporal", "was not calibrated"),
            (
                Bounds(scope="every_token", scopes=("first_token",)),
                None,
                "default scope every_token is not among",
            ),
        ],
    )
    def test_is_said_at_once(self, bounds: Bounds, category: str | None, what: str) -> None:
        with pytest.raises(BoundsError, match=what) as caught:
            Policy(MANIFEST, scoped(SCORES), bounds)
        assert caught.value.category == category

    def test_names_what_it_was_trained_for(self) -> None:
        narrow = MANIFEST.model_copy(update={"scopes": ("first_token",)})
        with pytest.raises(BoundsError, match="was trained for first_token, not every_token"):
            Policy(narrow, scoped(SCORES), Bounds(scopes=("first_token", "every_token")))

    def test_a_rate_without_calibration(self) -> None:
        with pytest.raises(BoundsError, match="not calibrated"):
            Policy(MANIFEST, {}, Bounds({"safety": Range(default=0.5)}))
        off = Policy(MANIFEST, {}, Bounds({"safety": Range(ceiling=0)}))
        assert threshold(off) == INF


class TestScopes:
    def test_default_to_the_first_that_is_allowed(self) -> None:
        assert policy().scope(None) == "first_token"
        only = Policy(MANIFEST, scoped(SCORES), Bounds(scopes=("every_token",)))
        assert only.scope(None) == "every_token"

    def test_are_refused_where_the_operator_does_not_allow_them(self) -> None:
        only = Policy(MANIFEST, scoped(SCORES), Bounds(scopes=("every_token",)))
        with pytest.raises(SettingsError, match="must be every_token here, not first_token"):
            only.scope("first_token")
