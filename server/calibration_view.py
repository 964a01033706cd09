"""What a client may know of the dial: categories, bounds, and what settings come to."""

import json
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from vllm.exceptions import VLLMValidationError

from server.dial_fields import DialFields
from server.refusal_texts import RefusalTexts
from server.schema import RefusalSettings
from server.solving import beside, solve_ahead
from steering.bounds import Range
from steering.curves import curve
from steering.intervals import Interval, category_intervals, over_refusal_interval
from steering.joint import Asked, JointSolver
from steering.manifest import Manifest, RefusalText, Scope
from steering.policy import Policy
from steering.settings import Settings, SettingsError, Steering, probability_of

_CURVES = 256
"""Settings whose curves are remembered."""


class CategoryView(BaseModel):
    """One category, as a client may turn it."""

    name: str
    description: str
    default_rate: float | None
    """The operator's; None for the model's own habit."""
    default_threshold: float
    """Probability from which on a request without settings is refused."""
    effective_rate: float | None
    """Share of the calibration prompts that the default refuses; None if not calibrated."""
    floor: float
    ceiling: float
    """The lowest and the highest rate that this client may ask for."""
    calibration_prompts: int


class CategoriesView(BaseModel):
    """The answer of `/v1/refusal/categories`."""

    object: str = "list"
    data: list[CategoryView]
    calibrated: bool
    """Whether rates can be asked for, and not thresholds only."""
    scopes: list[Scope]
    default_scope: Scope
    over_refusal: float | None
    """Share of harmless calibration prompts that the default refuses."""
    dtype: str
    """Of the engine's weights and activations, such as `bfloat16`."""
    notice: str
    """What the checkpoint's makers want people to know of it; may be empty."""
    refusal_text: RefusalText
    """Whose words a refusal has where a request does not say."""
    refusal_texts: list[RefusalText]
    """Whose words this checkpoint's refusals may have."""
    refusal_languages: list[str]
    """Of the templates, the default first; empty without templates."""


class IntervalView(BaseModel):
    """Where the share on new prompts lies, with 95% confidence."""

    low: float
    high: float

    @classmethod
    def of(cls, interval: Interval) -> "IntervalView":
        """As JSON has it."""
        return cls(low=interval.low, high=interval.high)


class PointView(BaseModel):
    """One rate of a category, the others as set."""

    rate: float
    threshold: float
    effective_rate: float | None
    over_refusal: float | None


class CategoryCalibration(BaseModel):
    """What the settings come to for one category."""

    name: str
    requested_rate: float | None
    effective_rate: float | None
    interval: IntervalView
    threshold: float
    prompts: int
    curve: list[PointView] | None
    """From rate 0 to 1; None if not asked for, or without calibration prompts."""


class HarmlessCalibration(BaseModel):
    """What the settings come to for harmless prompts."""

    share: float | None
    interval: IntervalView
    prompts: int


class CalibrationView(BaseModel):
    """The answer of `/v1/refusal/calibration`."""

    refusal_settings: RefusalSettings
    calibrated: bool
    categories: list[CategoryCalibration]
    """Empty if not calibrated."""
    over_refusal: HarmlessCalibration | None
    shapes: dict[str, int] | None
    """Number of calibration prompts by what stands around the question; None if not known."""


_Json = Annotated[str | None, Field(description="JSON, as the field of a chat request.")]


class CalibrationQuery(BaseModel):
    """The query of `/v1/refusal/calibration`: settings as a chat request has them."""

    model_config = ConfigDict(extra="forbid")

    refusal_rates: _Json = None
    refusal_thresholds: _Json = None
    over_refusal_budget: _Json = None
    refusal_scope: Scope | None = None
    curves: bool = Field(default=True, description="Whether to send each category's curve.")

    def dial(self) -> DialFields:
        """The settings; raises VLLMValidationError."""
        fields: dict[str, Any] = {"refusal_scope": self.refusal_scope}
        for name in ("refusal_rates", "refusal_thresholds", "over_refusal_budget"):
            text = getattr(self, name)
            if text is None:
                continue
            try:
                fields[name] = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise VLLMValidationError(
                    f'{name} must be JSON, such as {{"safety": 0.9}}, not {text[:80]!r}: {error}',
                    parameter=name,
                ) from error
        try:
            return DialFields.model_validate(fields)
        except ValidationError as error:
            raise VLLMValidationError(str(error), parameter=None) from error


def categories_view(
    manifest: Manifest, policy: Policy, texts: RefusalTexts, dtype: str
) -> CategoriesView:
    """The categories as a client with this policy may turn them."""
    steering = policy.resolve(Settings())
    rates = steering.effective_rates or {}
    prompts = (0,) * len(manifest.names) if steering.joint is None else steering.joint.prompts
    data = []
    for category, threshold, count in zip(
        manifest.categories, steering.thresholds, prompts, strict=True
    ):
        allowed = policy.bounds.ranges.get(category.name, Range())
        data.append(
            CategoryView(
                name=category.name,
                description=category.description,
                default_rate=allowed.default,
                default_threshold=probability_of(threshold),
                effective_rate=rates.get(category.name),
                floor=allowed.floor,
                ceiling=allowed.ceiling,
                calibration_prompts=count,
            )
        )
    return CategoriesView(
        data=data,
        calibrated=policy.calibrated,
        scopes=list(policy.scopes),
        default_scope=policy.default_scope,
        over_refusal=steering.over_refusal,
        dtype=dtype,
        notice=manifest.notice,
        refusal_text=texts.default,
        refusal_texts=list(manifest.refusal_texts),
        refusal_languages=list(texts.languages),
    )


async def calibration_view(policy: Policy, query: CalibrationQuery) -> CalibrationView:
    """What settings come to; raises VLLMValidationError for settings that are not allowed."""
    dial = query.dial()
    await solve_ahead(policy, dial.settings, dial.refusal_scope)
    try:
        scope = policy.scope(dial.refusal_scope)
        steering = policy.resolve(dial.settings, scope)
    except SettingsError as error:
        raise VLLMValidationError(str(error), parameter=error.field) from error
    settings = RefusalSettings.of(dial.settings, steering, policy.categories, scope)
    solver = policy.within(scope).solver
    if solver is None or steering.joint is None:
        return CalibrationView(
            refusal_settings=settings,
            calibrated=False,
            categories=[],
            over_refusal=None,
            shapes=None,
        )
    joint = steering.joint
    curves = None
    if query.curves:
        # Up to a second that other requests need not wait for.
        curves = await beside(_curves, solver, joint.rates, joint.thresholds, joint.prompts)
    return CalibrationView(
        refusal_settings=settings,
        calibrated=True,
        categories=_categories(policy.categories, steering, curves),
        over_refusal=HarmlessCalibration(
            share=joint.over_refusal,
            interval=IntervalView.of(over_refusal_interval(joint)),
            prompts=joint.comply[1],
        ),
        shapes=policy.shapes,
    )


def _categories(
    names: tuple[str, ...], steering: Steering, curves: "_Curves | None"
) -> list[CategoryCalibration]:
    joint = steering.joint
    assert joint is not None
    rows = zip(joint.rates, joint.shares, joint.thresholds, joint.prompts, strict=True)
    intervals = category_intervals(joint)
    return [
        CategoryCalibration(
            name=names[index],
            requested_rate=rate,
            effective_rate=share,
            interval=IntervalView.of(intervals[index]),
            threshold=probability_of(threshold),
            prompts=prompts,
            curve=None if curves is None else curves[index],
        )
        for index, (rate, share, threshold, prompts) in enumerate(rows)
    ]


_Curves = tuple[list[PointView] | None, ...]


@lru_cache(maxsize=_CURVES)
def _curves(
    solver: JointSolver,
    rates: tuple[float | None, ...],
    thresholds: tuple[float, ...],
    prompts: tuple[int, ...],
) -> _Curves:
    """[C] the curve of every category that has calibration prompts."""
    rest = Asked(rates, thresholds)
    return tuple(
        _curve(solver, category, rest) if count else None for category, count in enumerate(prompts)
    )


def _curve(solver: JointSolver, category: int, rest: Asked) -> list[PointView]:
    points = []
    for joint in curve(solver, [category], rest):
        rate = joint.rates[category]
        assert rate is not None
        points.append(
            PointView(
                rate=rate,
                threshold=probability_of(joint.thresholds[category]),
                effective_rate=joint.shares[category],
                over_refusal=joint.over_refusal,
            )
        )
    return points
