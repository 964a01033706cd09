import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.bounds import Bounds, Range
from steering.calibration import COMPLY_INDEX, CalibrationScores
from steering.manifest import Calibration, Category, Manifest
from steering.policy import Policy
from steering.scope_policy import HABIT
from steering.settings import (
    Budget,
    Settings,
    SettingsError,
    Steering,
    log_odds_of,
    probability_of,
)
from steering.shapes import FEATURES, tally

INF = math.inf
MANIFEST = Manifest(
    respond_token="<|respond|>",
    categories=(
        Category(name="safety", token="<|refuse:safety|>"),
        Category(name="temporal", token="<|refuse:temporal|>"),
    ),
)
SCORES = CalibrationScores(
    categories=MANIFEST.names,
    labels=np.array([0, 0, 1, 1, COMPLY_INDEX, COMPLY_INDEX]),
    scores=np.array([[3, -9], [-1, -9], [-9, 2], [-9, 4], [-2, -9], [-9, -9]], dtype=np.float32),
)


@pytest.fixture
def policy() -> Policy:
    return Policy(MANIFEST, {"first_token": SCORES})


def test_nothing_asked_is_the_models_own_habit(policy: Policy) -> None:
    steering = policy.resolve(Settings())
    assert steering.thresholds == (HABIT, HABIT) == (0, 0)
    assert steering.effective_rates == {"safety": 0.5, "temporal": 1}
    assert steering.over_refusal == 0


def test_a_map_leaves_other_categories_alone(policy: Policy) -> None:
    assert policy.resolve(Settings(rates={"temporal": 0.5})).thresholds == (HABIT, 4)
    assert policy.resolve(Settings(rates={})).thresholds == (HABIT, HABIT)


def test_a_number_stands_for_all_categories(policy: Policy) -> None:
    assert policy.resolve(Settings(rates=1)).thresholds == (-1, 2)
    assert policy.resolve(Settings(rates=0.0)).thresholds == (INF, INF)


def test_effective_rates_count_refusals_under_any_name(policy: Policy) -> None:
    steering = policy.resolve(Settings(rates={"safety": 0.0}, thresholds={"temporal": 0.0}))
    assert steering.effective_rates == {"safety": 1, "temporal": 1}
    assert steering.over_refusal == 1


def test_thresholds_are_probabilities(policy: Policy) -> None:
    steering = policy.resolve(Settings(thresholds={"safety": 0.75, "temporal": 1.0}))
    assert steering.thresholds[0] == pytest.approx(math.log(3))
    assert steering.thresholds[1] == INF
    assert policy.resolve(Settings(thresholds={"safety": 0})).thresholds == (-INF, HABIT)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (Settings(rates={"safty": 0.5}), "refusal_rates"),
        (Settings(thresholds={"safty": 0.5}), "refusal_thresholds"),
        (Settings(budget=Budget(0.1, ("safty",))), "over_refusal_budget"),
    ],
)
def test_an_unknown_category_is_named_beside_the_known_ones(
    policy: Policy, settings: Settings, field: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        policy.resolve(settings)
    assert caught.value.field == field
    assert "'safty'" in str(caught.value)
    assert "safety, temporal" in str(caught.value)


@pytest.mark.parametrize("rates", [{"safety": 0.5}, 0.5, 0])
def test_a_rate_and_a_threshold_exclude_each_other(
    policy: Policy, rates: dict[str, float] | float
) -> None:
    with pytest.raises(SettingsError, match="'safety' is set in refusal_rates too"):
        policy.resolve(Settings(rates=rates, thresholds={"safety": 0.5}))


class TestWithoutCalibration:
    policy = Policy(MANIFEST, {})

    def test_serves_thresholds(self) -> None:
        steering = self.policy.resolve(Settings(thresholds={"safety": 0.5}))
        assert steering.thresholds == (0, HABIT)
        assert steering.effective_rates is None
        assert steering.over_refusal is None

    def test_refuses_rates_and_says_what_to_do(self) -> None:
        with pytest.raises(SettingsError, match=r"not calibrated.*demur-calibrate"):
            self.policy.resolve(Settings(rates={"safety": 0.5}))

    def test_switches_categories_off(self) -> None:
        assert self.policy.resolve(Settings(rates=0)).thresholds == (INF, INF)


class TestTogether:
    """Two categories whose prompts look alike: the second also refuses prompts of the first."""

    ALIKE = CalibrationScores(
        MANIFEST.names,
        np.repeat([0, 1], 100),
        np.column_stack(
            [np.tile(np.arange(100), 2), np.concatenate([np.arange(100)[::-1], np.arange(100)])]
        ).astype(np.float32),
    )

    def test_each_category_has_its_rate_whatever_is_asked_of_the_other(self) -> None:
        steering = Policy(MANIFEST, {"first_token": self.ALIKE}).resolve(Settings(rates=0.5))
        assert steering.effective_rates == {"safety": 0.5, "temporal": 0.5}
        assert steering.warnings == ()
        # What each would be alone refuses every prompt of the first.
        alone = [self.ALIKE.threshold(category, 0.5) for category in (0, 1)]
        assert self.ALIKE.refused_shares(alone)["safety"] == 1

    def test_what_the_others_refuse_already_is_said(self) -> None:
        settings = Settings(rates={"safety": 0.1}, thresholds={"temporal": 0})
        steering = Policy(MANIFEST, {"first_token": self.ALIKE}).resolve(settings)
        assert steering.thresholds[0] == INF
        assert steering.effective_rates == {"safety": 1, "temporal": 1}
        (warning,) = steering.warnings
        assert warning.startswith("safety: 1 of its prompts are refused, 0.9 more than asked")

    def test_a_rate_that_the_prompts_cannot_resolve_is_said(self) -> None:
        (warning,) = (
            Policy(MANIFEST, {"first_token": self.ALIKE})
            .resolve(Settings(rates={"safety": 0.999}))
            .warnings
        )
        assert "0.999 for 'safety' is finer than its 100 calibration prompts" in warning

    def test_an_operators_default_is_a_rate_as_any_other(self) -> None:
        bounds = Bounds({"safety": Range(default=0.5), "temporal": Range(default=0.5)})
        steering = Policy(MANIFEST, {"first_token": self.ALIKE}, bounds).resolve(Settings())
        assert steering.effective_rates == {"safety": 0.5, "temporal": 0.5}


def test_a_category_without_prompts_has_no_rates() -> None:
    partial = CalibrationScores(MANIFEST.names, np.array([0]), np.zeros((1, 2), dtype=np.float32))
    with pytest.raises(SettingsError, match="'temporal' was not calibrated"):
        Policy(MANIFEST, {"first_token": partial}).resolve(Settings(rates={"temporal": 0.5}))


class TestShapes:
    TOOLS = FEATURES["tools"]

    def policy(self, shapes: dict[str, int] | None) -> Policy:
        calibration = Calibration(engine="e", dtype="float32", prompts={}, shapes=shapes)
        manifest = MANIFEST.model_copy(update={"calibration": calibration})
        return Policy(manifest, {"first_token": SCORES})

    def test_that_no_calibration_prompt_has_are_warned_of(self) -> None:
        policy = self.policy(tally([0, FEATURES["system"]]))
        steering = policy.resolve(Settings(rates={"safety": 0.3}))
        (rounded,) = steering.warnings
        warned = policy.warned(steering, self.TOOLS | FEATURES["system"])
        assert warned.warnings == (
            rounded,
            "no calibration prompt has tools: rates are not a promise for this prompt",
        )
        assert warned.thresholds == steering.thresholds
        # What is remembered of the settings is for every prompt.
        assert policy.resolve(Settings(rates={"safety": 0.3})).warnings == (rounded,)

    def test_that_were_calibrated_are_not(self) -> None:
        policy = self.policy(tally([0, self.TOOLS]))
        for shape in (0, self.TOOLS):
            assert policy.warned(policy.resolve(Settings()), shape).warnings == ()

    def test_of_an_older_calibration_are_not_known(self) -> None:
        policy = self.policy(None)
        assert policy.warned(policy.resolve(Settings()), self.TOOLS).warnings == ()

    def test_do_not_matter_where_no_rate_is_promised(self) -> None:
        policy = Policy(MANIFEST, {})
        assert policy.warned(policy.resolve(Settings()), self.TOOLS).warnings == ()
        other = self.policy(tally([0]))
        uncalibrated = Steering((0.0, 0.0), None, None)
        assert other.warned(uncalibrated, self.TOOLS) is uncalibrated


def test_settings_seen_before_are_not_resolved_again(policy: Policy) -> None:
    first = policy.resolve(Settings(rates={"safety": 0.5, "temporal": 0.5}))
    assert policy.resolve(Settings(rates={"temporal": 0.5, "safety": 0.5})) is first
    assert policy.resolve(Settings(rates={"safety": 0.5})) is not first


def test_the_memory_of_settings_is_bounded(policy: Policy) -> None:
    for step in range(5000):
        policy.resolve(Settings(thresholds={"safety": step / 5000}))
    assert len(policy._cache) <= 4096


@given(st.floats(0, 1))
def test_log_odds_and_probability_are_inverse(probability: float) -> None:
    assert probability_of(log_odds_of(probability)) == pytest.approx(probability, abs=1e-12)


def test_the_ends_are_infinite() -> None:
    assert log_odds_of(0) == -INF
    assert log_odds_of(1) == INF
    assert probability_of(INF) == 1
    assert probability_of(-INF) == 0
    assert probability_of(-1e6) == 0


class TestScopes:
    """Each scope has its own calibration."""

    MANIFEST = MANIFEST.model_copy(update={"scopes": ("first_token", "every_token")})
    HIGHER = CalibrationScores(SCORES.categories, SCORES.labels, SCORES.scores + 1)

    def test_have_thresholds_of_their_own(self) -> None:
        policy = Policy(self.MANIFEST, {"first_token": SCORES, "every_token": self.HIGHER})
        first, every = (policy.resolve(Settings(rates=1), scope) for scope in self.MANIFEST.scopes)
        assert first.thresholds == (-1, 2)
        assert every.thresholds == (0, 3)
        assert policy.resolve(Settings(rates=1)) is first

    def test_have_no_rates_where_they_are_not_calibrated(self) -> None:
        policy = Policy(self.MANIFEST, {"first_token": SCORES})
        with pytest.raises(SettingsError, match="not calibrated"):
            policy.resolve(Settings(rates=1), "every_token")


class TestBudget:
    """Harmless scores: safety reaches -2 and -9, temporal -9 and -9."""

    def test_refuses_as_much_as_it_allows(self, policy: Policy) -> None:
        steering = policy.resolve(Settings(budget=Budget(0.0)))
        assert steering.over_refusal == 0
        assert steering.effective_rates == {"safety": 1, "temporal": 1}
        assert steering.budget_rate == pytest.approx(0.875)

    def test_is_spent_on_the_categories_that_are_named(self, policy: Policy) -> None:
        steering = policy.resolve(
            Settings(budget=Budget(0.0, ("temporal",)), thresholds={"safety": 1.0})
        )
        assert steering.thresholds[0] == INF
        assert steering.effective_rates == {"safety": 0, "temporal": 1}

    def test_leaves_what_else_is_asked_for(self, policy: Policy) -> None:
        steering = policy.resolve(Settings(rates={"safety": 0.5}, budget=Budget(0.0)))
        assert steering.effective_rates == {"safety": 0.5, "temporal": 1}

    def test_that_other_settings_exceed_is_said(self, policy: Policy) -> None:
        steering = policy.resolve(Settings(thresholds={"safety": 0}, budget=Budget(0.5)))
        assert steering.over_refusal == 1
        assert "a budget of 0.5 cannot be kept: 1 of the harmless prompts" in steering.warnings[0]

    def test_keeps_an_operators_floor_and_ceiling(self) -> None:
        for allowed, share in ((Range(ceiling=0.5), 0.5), (Range(floor=1.0), 1)):
            bounds = Bounds({"safety": allowed})
            policy = Policy(MANIFEST, {"first_token": SCORES}, bounds)
            budget = Budget(1.0 if share < 1 else 0.0)
            steering = policy.resolve(Settings(budget=budget))
            assert steering.effective_rates is not None
            assert steering.effective_rates["safety"] == share

    @pytest.mark.parametrize(
        ("settings", "what"),
        [
            (Settings(rates=0.5, budget=Budget(0.1)), "no category left"),
            (Settings(rates={"safety": 1}, budget=Budget(0.1, ("safety",))), "is set in"),
        ],
    )
    def test_that_cannot_be_meant_is_refused(
        self, policy: Policy, settings: Settings, what: str
    ) -> None:
        with pytest.raises(SettingsError, match=what) as caught:
            policy.resolve(settings)
        assert caught.value.field == "over_refusal_budget"

    def test_needs_a_calibration_with_harmless_prompts(self) -> None:
        with pytest.raises(SettingsError, match="not calibrated"):
            Policy(MANIFEST, {}).resolve(Settings(budget=Budget(0.1, ("safety",))))
        harmful = CalibrationScores(SCORES.categories, SCORES.labels[:4], SCORES.scores[:4])
        with pytest.raises(SettingsError, match="no harmless calibration prompts"):
            Policy(MANIFEST, {"first_token": harmful}).resolve(Settings(budget=Budget(0.1)))
