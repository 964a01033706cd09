"""The figures of a calibration report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from steering.intervals import over_refusal_interval
from steering.joint import Joint
from training.reliability import Cell

STYLE: dict[RcKeyType, object] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "grid.alpha": 0.3,
}
INSIDE, OUTSIDE = "tab:blue", "tab:red"
COLUMNS = 3
"""Panels beside each other."""


@dataclass(frozen=True)
class Curves:
    """What a checkpoint's dial does; all solutions at rising rates."""

    names: Sequence[str]
    """Every category's."""
    together: Sequence[Joint]
    """One rate for all categories that have calibration prompts."""
    alone: Mapping[int, Sequence[Joint]]
    """By category: a rate for it, the others off."""


def draw_curves(curves: Curves) -> Figure:
    """What rates cost in over-refusal, and the thresholds that they mean."""
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 4.5))
        left, right = figure.subplots(1, 2)
        _draw_over_refusal(left, curves)
        _draw_thresholds(right, curves)
    return figure


def _draw_over_refusal(axes: Axes, curves: Curves) -> None:
    for category, points in curves.alone.items():
        costs = [_percent(point.over_refusal) for point in points]
        axes.plot(_rates(points), costs, label=curves.names[category])
    rates = _rates(curves.together)
    costs = [_percent(point.over_refusal) for point in curves.together]
    axes.plot(rates, costs, color="black", linewidth=2, label="all together")
    intervals = [over_refusal_interval(point) for point in curves.together]
    axes.fill_between(
        rates,
        [_percent(interval.low) for interval in intervals],
        [_percent(interval.high) for interval in intervals],
        color="black",
        alpha=0.12,
        label="95% interval",
    )
    axes.set(
        title="What a rate costs",
        xlabel="refusal rate asked for, %",
        ylabel="harmless prompts refused, %",
        xlim=(0, 100),
        ylim=(0, None),
    )
    axes.legend(fontsize="small")


def _draw_thresholds(axes: Axes, curves: Curves) -> None:
    for category, points in curves.alone.items():
        thresholds = [point.thresholds[category] for point in points]
        finite = [value if math.isfinite(value) else math.nan for value in thresholds]
        axes.plot(_rates(points), finite, marker=".", label=curves.names[category])
    axes.axhline(0, color="grey", linestyle=":")
    axes.annotate("the model's own habit, p = 0.5", (2, 0), color="grey", va="bottom")
    axes.set(
        title="Thresholds, each category alone",
        xlabel="refusal rate asked for, %",
        ylabel="threshold, log-odds of the refuse token",
        xlim=(0, 100),
    )
    axes.legend(fontsize="small")


def draw_reliability(cells: Sequence[Cell]) -> Figure:
    """Shares on held-out prompts against the rates asked for, one panel for each category."""
    names = list(dict.fromkeys(cell.category for cell in cells))
    rows = math.ceil(len(names) / COLUMNS)
    with rc_context(STYLE):
        figure = Figure(figsize=(3.6 * min(COLUMNS, len(names)), 3.4 * rows))
        panels = list(figure.subplots(rows, min(COLUMNS, len(names)), squeeze=False).flat)
        for axes, name in zip(panels, names, strict=False):
            _draw_category(axes, name, [cell for cell in cells if cell.category == name])
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        figure.supxlabel("refusal rate asked for, %")
        figure.supylabel("refused of held-out prompts, %")
    return figure


def _draw_category(axes: Axes, name: str, cells: Sequence[Cell]) -> None:
    rates = [100 * cell.rate for cell in cells]
    axes.plot([0, 100], [0, 100], color="grey", linestyle=":")
    axes.fill_between(
        rates,
        [100 * cell.interval.low for cell in cells],
        [100 * cell.interval.high for cell in cells],
        color=INSIDE,
        alpha=0.15,
    )
    for inside, color in ((True, INSIDE), (False, OUTSIDE)):
        chosen = [cell for cell in cells if cell.inside is inside]
        axes.scatter(
            [100 * cell.rate for cell in chosen],
            [100 * cell.share for cell in chosen],
            color=color,
            zorder=3,
        )
    axes.set(title=name, xlim=(0, 100), ylim=(0, 100), aspect="equal")


def _rates(points: Sequence[Joint]) -> list[float]:
    return [100 * max(rate or 0 for rate in point.rates) for point in points]


def _percent(share: float | None) -> float:
    return math.nan if share is None else 100 * share
