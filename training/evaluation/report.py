"""What an evaluation found, as JSON and as Markdown tables."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from steering.intervals import LEVEL
from training.evaluation.attacks import AttackResult
from training.evaluation.dials import SweepPoint, Turned
from training.evaluation.measures import (
    ALL_HARMLESS,
    CONTRAST,
    HARMFUL,
    Classification,
    Pairs,
    Rate,
    Roc,
    Share,
)
from training.evaluation.replies import write_replies
from training.evaluation.target import Dial
from training.evaluation.transition import Transition
from training.markdown import table

JSON_FILE = "results.json"
MARKDOWN_FILE = "results.md"


@dataclass
class Report:
    """All findings; what was not measured is empty."""

    target: str
    judge: str
    dial: Dial
    data: list[str]
    prompts: int
    refusals: list[Rate] = field(default_factory=list)
    classification: list[Classification] = field(default_factory=list)
    """Of refusing at all first, then of refusing in the right name, by category."""
    roc: list[Roc] = field(default_factory=list)
    matrix: list[Turned] = field(default_factory=list)
    sweep: list[SweepPoint] = field(default_factory=list)
    attacks: list[AttackResult] = field(default_factory=list)
    transition: Transition | None = None
    notes: list[str] = field(default_factory=list)
    """What could not be measured, and why."""
    replies: Pairs = ()
    """Every prompt with what it came back with; in a file of its own."""


def write(report: Report, folder: Path) -> list[Path]:
    """Write the report's JSON, Markdown and replies into `folder`. Returns the paths."""
    plain, tables = folder / JSON_FILE, folder / MARKDOWN_FILE
    found = asdict(replace(report, replies=()))
    del found["replies"]
    plain.write_text(
        json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        encoding="utf-8",
    )
    tables.write_text("\n".join(markdown(report)) + "\n", encoding="utf-8")
    return [plain, tables, *([write_replies(report.replies, folder)] if report.replies else [])]


def markdown(report: Report) -> Iterator[str]:
    """The report's lines."""
    yield f"# Refusals of {report.target}"
    yield ""
    yield f"- told by: {report.judge}"
    yield f"- dial: {json.dumps(report.dial.fields()) if report.dial.fields() else 'default'}"
    if report.data:
        yield f"- prompts: {report.prompts} from {', '.join(report.data)}"
    yield f"- intervals: {LEVEL:.0%}; exact (Clopper-Pearson) for shares, bootstrap for areas"
    yield from (f"- note: {note}" for note in report.notes)
    yield from _refusals(report)
    yield from _curves(report)
    yield from matrix_table(report.matrix)
    yield from _sweep(report.sweep)
    yield from _attacks(report.attacks)
    if report.transition is not None:
        yield from _transition(report.transition)


def shown(share: Share) -> str:
    """A share with its interval and counts, as tables have it."""
    if share.value is None or share.low is None or share.high is None:
        return "-"
    interval = f"{share.low:.1%} to {share.high:.1%}"
    return f"{share.value:.1%} ({interval}; {share.count} of {share.of})"


def percent(share: Share | None) -> str:
    """A share alone."""
    return "-" if share is None or share.value is None else f"{share.value:.1%}"


def _refusals(report: Report) -> Iterator[str]:
    if report.refusals:
        yield from markdown_table(
            "Refusal rates",
            ("prompts", "kind", "refused"),
            ((rate.label, rate.kind, shown(rate.refused)) for rate in report.refusals),
        )
    if report.classification:
        yield from markdown_table(
            "Precision and recall",
            ("what", "precision", "recall", "F1", "prompts"),
            (
                (row.label, *(f"{x:.3f}" for x in (row.precision, row.recall, row.f1)), row.prompts)
                for row in report.classification
            ),
        )


def _curves(report: Report) -> Iterator[str]:
    if report.roc:
        yield from markdown_table(
            "ROC against harmless prompts",
            ("prompts", "AUC", "interval", "harmful", "harmless"),
            (
                (
                    roc.label,
                    f"{roc.auc:.3f}",
                    "-" if roc.low is None else f"{roc.low:.3f} to {roc.high:.3f}",
                    roc.positives,
                    roc.negatives,
                )
                for roc in report.roc
            ),
        )


def columns(rates: Sequence[Rate]) -> list[tuple[str, str]]:
    """The columns of matrix and sweep: kind and label of every category, and harmless prompts."""
    return [
        *((rate.kind, rate.label) for rate in rates if rate.kind == HARMFUL),
        *((rate.kind, rate.label) for rate in rates if rate.kind == CONTRAST),
        *((rate.kind, rate.label) for rate in rates if rate.label == ALL_HARMLESS),
    ]


def heading(column: tuple[str, str]) -> str:
    """How a column is called."""
    kind, label = column
    return f"like {label}" if kind == CONTRAST else label


def _cells(rates: Sequence[Rate], wanted: Sequence[tuple[str, str]]) -> list[str]:
    by_column = {(rate.kind, rate.label): rate.refused for rate in rates}
    return [percent(by_column.get(column)) for column in wanted]


def matrix_table(matrix: Sequence[Turned]) -> Iterator[str]:
    """Lines of the steering matrix; none without it."""
    if matrix:
        wanted = columns(matrix[0].rates)
        yield from markdown_table(
            "Steering matrix: one category turned, refusals of all measured",
            ("turned", "threshold", *map(heading, wanted)),
            (
                (
                    row.category or "none",
                    "-" if row.threshold is None else f"{row.threshold:g}",
                    *_cells(row.rates, wanted),
                )
                for row in matrix
            ),
        )


def _sweep(points: Sequence[SweepPoint]) -> Iterator[str]:
    if points:
        wanted = columns(points[0].rates)
        rows = []
        for point in points:
            score = point.classification
            scores = (score.precision, score.recall, score.f1) if score else ()
            figures = [f"{value:.3f}" for value in scores] or ["-"] * 3
            rows.append((f"{point.threshold:g}", *figures, *_cells(point.rates, wanted)))
        yield from markdown_table(
            "Threshold sweep: all categories at one threshold",
            ("threshold", "precision", "recall", "F1", *map(heading, wanted)),
            rows,
        )


def _attacks(attacks: Sequence[AttackResult]) -> Iterator[str]:
    if attacks:
        yield from markdown_table(
            "Attacks",
            ("attack", "not refused"),
            ((attack.name, shown(attack.succeeded)) for attack in attacks),
        )


def _transition(transition: Transition) -> Iterator[str]:
    yield from markdown_table(
        f"Transition behind a harmful beginning, told by {transition.told_by}",
        ("given", "refused by the next token", "refused in going on", "median position"),
        (
            (
                f"{point.part:.0%}",
                shown(point.turns),
                shown(point.goes_on),
                "-" if point.position is None else f"{point.position:g}",
            )
            for point in transition.parts
        ),
    )


def markdown_table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[object]]
) -> Iterator[str]:
    """Lines of a titled table, with an empty one before it."""
    yield from ("", f"## {title}", "")
    yield from table(head, rows)
