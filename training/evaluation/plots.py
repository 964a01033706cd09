"""The report's plots, each as PNG and SVG."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.drawing import save
from training.evaluation.attacks import AttackResult
from training.evaluation.compare import MEASURES, Compared
from training.evaluation.dials import SweepPoint, Turned
from training.evaluation.measures import ALL_HARMFUL, CONTRAST, HARMFUL, Rate, Roc, Share
from training.evaluation.report import Report, columns, heading
from training.evaluation.transition import Transition

TO_REFUSE, TO_ANSWER = "tab:blue", "tab:orange"
"""Colours of what is better high, and better low."""


def draw_all(report: Report, folder: Path) -> list[Path]:
    """Draw what was measured into `folder`. Returns the paths."""
    return [path for name, figure in _figures(report) for path in save(figure, folder / name)]


def _figures(report: Report) -> Iterator[tuple[str, Figure]]:
    if report.refusals:
        yield "refusals", refusals(report.refusals)
    if report.roc:
        yield "roc", rocs(report.roc)
    if report.matrix:
        yield "matrix", matrix(report.matrix)
    if report.sweep:
        yield "sweep", sweep(report.sweep)
    if report.attacks:
        yield "attacks", attacks(report.attacks)
    if report.transition is not None:
        yield "transition", transition(report.transition)


def refusals(rates: Sequence[Rate]) -> Figure:
    """Refusal rates with their intervals: what should be refused, and what should not."""
    names = [f"like {rate.label}" if rate.kind == CONTRAST else rate.label for rate in rates]
    colours = [
        TO_REFUSE if rate.kind == HARMFUL or rate.label == ALL_HARMFUL else TO_ANSWER
        for rate in rates
    ]
    return _bars(names, [rate.refused for rate in rates], "share refused", colours)


def attacks(results: Sequence[AttackResult]) -> Figure:
    """Attack success rates with their intervals."""
    names = [result.name for result in results]
    return _bars(
        names,
        [result.succeeded for result in results],
        "share not refused",
        [TO_ANSWER] * len(names),
    )


def rocs(curves: Sequence[Roc]) -> Figure:
    """ROC curves, with their areas in the legend."""
    figure, axes = _single(5.5, 5)
    for curve in curves:
        interval = "" if curve.low is None else f" ({curve.low:.3f} to {curve.high:.3f})"
        axes.plot(curve.fpr, curve.tpr, label=f"{curve.label}: {curve.auc:.3f}{interval}")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.set_xlabel("harmless prompts refused")
    axes.set_ylabel("harmful prompts refused")
    axes.legend(title="area under the curve", fontsize="small")
    return figure


def matrix(rows: Sequence[Turned]) -> Figure:
    """The steering matrix as a heat map: a row per turn, a column per kind of prompt."""
    wanted = columns(rows[0].rates)
    values = np.full((len(rows), len(wanted)), np.nan)
    for at, row in enumerate(rows):
        by_column = {(rate.kind, rate.label): rate.refused.value for rate in row.rates}
        for column, key in enumerate(wanted):
            value = by_column.get(key)
            values[at, column] = np.nan if value is None else value
    figure, axes = _single(2.5 + 0.75 * len(wanted), 1.6 + 0.4 * len(rows))
    image = axes.imshow(values, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(wanted)), list(map(heading, wanted)), rotation=40, ha="right")
    axes.set_yticks(range(len(rows)), [_turn(row) for row in rows])
    for (at, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "white" if value > 0.6 else "black"
            axes.text(column, at, f"{value:.0%}", ha="center", va="center", color=colour)
    figure.colorbar(image, label="share refused")
    return figure


def sweep(points: Sequence[SweepPoint]) -> Figure:
    """Refusals over the threshold, and precision, recall and F1 beside them."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    at = [point.threshold for point in points]
    labels = sorted({rate.label for rate in points[0].rates if rate.kind in (HARMFUL, CONTRAST)})
    # A category and its look-alikes share a colour.
    colours = {label: f"C{index}" for index, label in enumerate(labels)}
    for column in columns(points[0].rates):
        values = [
            next((r.refused.value for r in point.rates if (r.kind, r.label) == column), None)
            for point in points
        ]
        left.plot(
            at,
            [np.nan if value is None else value for value in values],
            "--" if column[0] == CONTRAST else "-",
            color=colours.get(column[1], "black"),
            label=heading(column),
        )
    left.set_ylabel("share refused")
    left.legend(fontsize="small")
    scores = [point.classification for point in points]
    for name in ("precision", "recall", "f1"):
        right.plot(at, [getattr(s, name) if s else np.nan for s in scores], label=name)
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("threshold of every category, as a probability")
        axes.set_ylim(-0.02, 1.02)
    return figure


def transition(found: Transition) -> Figure:
    """Turned answers over k tokens of harmful beginning, and over shares of it."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    k = [point.tokens for point in found.at_once]
    curve(left, k, [point.turns for point in found.at_once], "the next token refuses")
    curve(left, k, [point.turned for point in found.at_once], "refused up to here")
    left.set_xlabel("tokens of the harmful answer that are given")
    parts = [point.part for point in found.parts]
    curve(right, parts, [point.turns for point in found.parts], "the next token refuses")
    curve(right, parts, [point.goes_on for point in found.parts], "refused in going on")
    right.set_xlabel("share of the harmful answer that is given")
    for axes in (left, right):
        axes.set_ylabel("share of answers")
        axes.set_ylim(-0.02, 1.02)
        axes.legend()
    return figure


def comparison(rows: Sequence[Compared]) -> Figure:
    """Measures of several variants with their intervals, a panel for each measure."""
    names = list(dict.fromkeys(row.variant for row in rows))
    figure = Figure(figsize=(2.6 * len(MEASURES), 1 + 0.4 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(MEASURES), sharey=True)
    for axes, measure in zip(panels, MEASURES, strict=True):
        for row in rows:
            if row.measure == measure and row.estimate is not None:
                value, at = row.estimate, names.index(row.variant)
                axes.plot([value.low, value.high], [at, at], color=TO_REFUSE)
                axes.plot([value.value], [at], "o", color=TO_REFUSE)
        axes.set_xlabel(measure)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def curve(axes: Axes, at: Sequence[float], shares: Sequence[Share], label: str) -> None:
    """A line of shares with their intervals."""
    kept = [(x, share) for x, share in zip(at, shares, strict=True) if share.value is not None]
    x = [place for place, _ in kept]
    axes.plot(x, [share.value or 0.0 for _, share in kept], label=label)
    low, high = ([getattr(share, end) for _, share in kept] for end in ("low", "high"))
    axes.fill_between(x, low, high, alpha=0.2)


def _bars(
    names: Sequence[str], shares: Sequence[Share], label: str, colours: Sequence[str]
) -> Figure:
    figure, axes = _single(7, 1.2 + 0.35 * len(names))
    value, low, high = (
        np.array([getattr(share, end) or 0.0 for share in shares])
        for end in ("value", "low", "high")
    )
    at = np.arange(len(names))
    # Where the share is 0 or 1, the interval's end is rounded to the other side of it.
    errors = np.maximum([value - low, high - value], 0)
    # As lists: with one bar, matplotlib 3.11 takes an array's row for a number.
    axes.barh(at, value, xerr=errors.tolist(), color=colours, capsize=3)
    axes.set_yticks(at, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel(label)
    return figure


def _single(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _turn(row: Turned) -> str:
    return "none" if row.category is None else f"{row.category} at {row.threshold:g}"
