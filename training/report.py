"""The report of a calibration: Markdown with figures, to be understood at a glance."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from steering.budget import spend
from steering.calibration import COMPLY, CalibrationScores
from steering.curves import RANGE, curve
from steering.intervals import Interval, category_intervals, over_refusal_interval, prompts_needed
from steering.joint import Asked, JointSolver
from steering.manifest import Calibration, Scope
from training.carry_over import Comparison, carry_over
from training.drawing import save
from training.figures import Curves, draw_curves, draw_reliability
from training.markdown import table
from training.reliability import HELD_OUT, TRIED, Cell, mean_error, reliability
from training.table import calibrated

RATES = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Rates whose cost the report tells."""
DRAWN = (*RANGE[:-1], 0.97, 0.99)
"""Rates of the figure: not 1, which a single stray prompt decides."""
COMPARED = (0.5, 0.9)
"""Rates at which it compares prompts of different shapes."""
BUDGETS = (0.01, 0.05, 0.1)
"""Shares of harmless prompts for which it tells how much can be refused."""


def write_report(
    folder: Path, name: str, scope: Scope, calibration: Calibration, scores: CalibrationScores
) -> Path:
    """Write the report on `scores` into `folder`, with its figures beside it; returns its path.

    name: the checkpoint's, for the title. Files begin with the scope and replace those there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    solver = JointSolver(scores)
    known = calibrated(scores)
    off = Asked([0] * len(scores.categories), [0] * len(scores.categories))
    if known:
        save(draw_curves(_curves(solver, known, off)), folder / f"{scope}-curves")
    cells = reliability(scores)
    if cells:
        save(draw_reliability(cells), folder / f"{scope}-reliability")
    lines = [
        *_head(name, scope, calibration, scores),
        *_glance(cells),
        *_costs(solver, known, off),
        *_budgets(solver, known, off),
        *(["", f"![What a rate costs, and the thresholds]({scope}-curves.png)"] if known else []),
        *_reliability(scope, cells),
        *_carry_over(solver, known, off),
        *_resolution(scores),
    ]
    path = folder / f"{scope}.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _curves(solver: JointSolver, known: Sequence[int], off: Asked) -> Curves:
    return Curves(
        solver.calibration.categories,
        curve(solver, known, off, DRAWN),
        {category: curve(solver, [category], off, DRAWN) for category in known},
    )


def _head(
    name: str, scope: Scope, calibration: Calibration, scores: CalibrationScores
) -> Iterator[str]:
    counts = ", ".join(f"{label} {count}" for label, count in scores.counts().items())
    yield f"# Calibration of {name}, scope {scope}"
    yield ""
    yield (
        f"{len(scores.labels)} prompts ({counts}), scored by {calibration.engine} in"
        f" {calibration.dtype}."
    )
    if calibration.weights:
        yield f"Weights: `{calibration.weights[:16]}`."


def _glance(cells: Sequence[Cell]) -> Iterator[str]:
    yield from ("", "## At a glance", "")
    if not cells:
        yield "Too few prompts to try the rates on a part of them that is held out."
        return
    inside = sum(cell.inside for cell in cells)
    yield (
        f"On held-out prompts, rates come out {100 * mean_error(tuple(cells)):.1f} percentage"
        f" points from what was asked, on average; {inside} of {len(cells)} shares"
        f" ({inside / len(cells):.0%}) are inside their 95% interval."
    )


def _costs(solver: JointSolver, known: Sequence[int], off: Asked) -> Iterator[str]:
    yield from ("", "## What a rate costs", "")
    yield "With one rate for all categories, solved jointly; 95% intervals for new prompts."
    yield ""
    names = [solver.calibration.categories[category] for category in known]
    rows = []
    for rate, joint in zip(RATES, curve(solver, known, off, RATES), strict=True):
        intervals = category_intervals(joint)
        shares = [_share(joint.shares[category], intervals[category]) for category in known]
        rows.append(
            [f"{rate:g}", _share(joint.over_refusal, over_refusal_interval(joint)), *shares]
        )
    yield from table(["rate", "harmless refused", *names], rows)


def _budgets(solver: JointSolver, known: Sequence[int], off: Asked) -> Iterator[str]:
    if not solver.calibration.counts()[COMPLY]:
        return
    yield from (
        "",
        "With a budget on harmless prompts refused, the rate that it allows for all:",
        "",
    )
    rows = []
    for budget in BUDGETS:
        spent = spend(solver, budget, known, off)
        cost = _share(spent.joint.over_refusal, over_refusal_interval(spent.joint))
        rows.append([f"{budget:.0%}", f"{spent.rate:.3f}", cost])
    yield from table(["budget", "rate", "harmless refused"], rows)


def _reliability(scope: Scope, cells: Sequence[Cell]) -> Iterator[str]:
    if not cells:
        return
    yield from ("", "## Do rates hold on prompts that were held out?", "")
    yield (
        f"Thresholds solved on {HELD_OUT - 1} of {HELD_OUT} prompts, all categories at once, and"
        " tried on the others. In brackets where 95% of such shares lie; outside it in bold."
    )
    yield ""
    rows = []
    for name in dict.fromkeys(cell.category for cell in cells):
        of_category = [cell for cell in cells if cell.category == name]
        shown = [_share(cell.share, cell.interval) for cell in of_category]
        marked = [
            text if cell.inside else f"**{text}**"
            for text, cell in zip(shown, of_category, strict=True)
        ]
        rows.append([name, *marked])
    yield from table(["asked", *(f"{rate:.0%}" for rate in TRIED)], rows)
    yield from ("", f"![Asked and come out]({scope}-reliability.png)")


def _carry_over(solver: JointSolver, known: Sequence[int], off: Asked) -> Iterator[str]:
    scores = solver.calibration
    counts = scores.shape_counts()
    if counts is None:
        return
    yield from ("", "## Does a rate carry over to prompts of another shape?", "")
    shown = ", ".join(f"{name} {count}" for name, count in counts.items())
    yield f"Prompts by what stands around the question (`plain`: nothing): {shown}."
    if missing := [name for name, count in counts.items() if not count]:
        yield f"Rates are not a promise for prompts of the kind {', '.join(missing)}."
    settings = [("default", off.thresholds)] + [
        (f"{rate:g}", joint.thresholds)
        for rate, joint in zip(COMPARED, curve(solver, known, off, COMPARED), strict=True)
        if known
    ]
    rows = [
        [rate, f"{row.feature} ({row.prompts})", *map(_compared, row.comparisons)]
        for rate, thresholds in settings
        for row in carry_over(scores, thresholds)
    ]
    if rows:
        yield (
            "Below, the share refused with a feature / without it; in bold where they differ by"
            " more than chance explains, so that the rate does not carry over."
        )
        yield ""
        yield from table(["rate", "feature", *scores.categories, COMPLY], rows)


def _compared(comparison: Comparison) -> str:
    return f"**{comparison}**" if comparison.differs else str(comparison)


def _resolution(scores: CalibrationScores) -> Iterator[str]:
    yield from ("", "## How fine the dial is", "")
    rows = [
        [name, str(count), f"{1 / count:.2%}" if count else "thresholds only"]
        for name, count in scores.counts().items()
        if name != COMPLY
    ]
    yield from table(["category", "prompts", "one step"], rows)
    yield ""
    finest = ", ".join(f"{rate:g} needs {prompts_needed(rate)}" for rate in RATES)
    yield f"Prompts that a category needs for a rate to come out within a point: {finest}."


def _share(share: float | None, interval: Interval) -> str:
    if share is None:
        return "-"
    return f"{100 * share:.1f}% ({100 * interval.low:.0f} to {100 * interval.high:.0f})"
