"""The tables of a comparison, as Markdown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.serving.arms import ARMS, PAIRS
from benchmarks.serving.cells import NATURAL
from benchmarks.serving.compare import (
    COSTS,
    FIRST,
    METRICS,
    VERDICTS,
    WAITS,
    Estimate,
    Verdict,
    cells_of,
    compared,
    difference,
    figures,
    in_time,
    later,
    ratio,
    verdict,
)
from benchmarks.serving.results import Journal, Many, Run, Saturation, Setup
from training.evaluation.report import markdown_table

NONE = "-"
RATIOS = {**METRICS, **COSTS}
FREE = (("b", "a"), ("c", "b"))
"""Pairs of which the first should cost nothing over the second."""


def report(journal: Journal) -> Iterator[str]:
    """All lines."""
    runs = journal.runs()
    yield from _head(journal, runs)
    yield from _verdicts(runs)
    for metric, title in RATIOS.items():
        yield from _of_pairs(
            runs,
            f"Ratios: {title}",
            lambda cell, *of, metric=metric: compared(runs, cell, metric, *of),
        )
    for metric, title in FIRST.items():
        yield from _of_pairs(
            runs,
            f"By how many decode steps the {title} comes later",
            lambda cell, *of, metric=metric: later(runs, cell, metric, *of),
        )
    yield from _waits(runs)
    for metric, title in RATIOS.items():
        yield from _medians(runs, metric, f"Medians: {title}")
    yield from _by_outcome(runs)
    yield from _servers(journal, runs)


def summary(journal: Journal) -> dict[str, Any]:
    """Every ratio with its interval, by pair, load and figure."""
    runs = journal.runs()
    return {
        f"{arm}/{base}": {
            cell: {
                metric: None if found is None else asdict(found)
                for metric in RATIOS
                for found in [compared(runs, cell, metric, arm, base)]
            }
            for cell in cells_of(runs)
        }
        for arm, base in _pairs(runs)
    }


def _head(journal: Journal, runs: Sequence[Run]) -> Iterator[str]:
    setup = journal.first(Setup)
    if setup is not None:
        versions = ", ".join(f"{name} {version}" for name, version in setup.versions.items())
        options = ", ".join(f"{name} {value}" for name, value in setup.options.items())
        yield from (f"{setup.machine}; {versions}; {setup.checkpoint}.", f"Load: {options}.")
    saturation = journal.first(Saturation)
    if saturation is not None:
        yield f"Saturation: {saturation.requests_per_s:.2f} requests a second (stock)."
    failed = sum(cell.failed for run in runs for cell in run.cells.values())
    counts = {name: sum(run.arm == name for run in runs) for name in _names(runs)}
    made = ", ".join(f"{name} {count}" for name, count in counts.items())
    yield f"Repetitions: {made}. Failed requests: {failed}."


def _verdicts(runs: Sequence[Run]) -> Iterator[str]:
    """Whether b and c cost anything, load by load; where answers differ nothing is said of it."""
    cells = [cell for cell in cells_of(runs) if cell != NATURAL]
    yield ""
    for arm, base in (pair for pair in FREE if pair in _pairs(runs)):
        for metric in ("throughput", "tpot"):
            # Of time per token, what it is without the arm over what it is with it.
            of = (arm, base) if metric == "throughput" else (base, arm)
            found = {
                cell: verdict(estimate, compared(runs, cell, metric, *PAIRS[0]))
                for cell in cells
                if (estimate := compared(runs, cell, metric, *of)) is not None
            }
            yield f"- {arm} against {base}, {metric}: {_by_verdict(found)}"
        for metric, title in FIRST.items():
            in_steps = {
                cell: in_time(estimate)
                for cell in cells
                if (estimate := later(runs, cell, metric, arm, base)) is not None
            }
            yield f"- {arm} against {base}, {title} within a step: {_by_verdict(in_steps)}"


def _by_verdict(found: Mapping[str, Verdict]) -> str:
    """The loads of each verdict."""
    loads = {each: [cell for cell, own in found.items() if own == each] for each in VERDICTS}
    return "; ".join(f"{each} at {', '.join(cells)}" for each, cells in loads.items() if cells)


def _of_pairs(
    runs: Sequence[Run], title: str, of: Callable[[str, str, str], Estimate | None]
) -> Iterator[str]:
    """A row for each pair of arms, a column for each load; of: called with load, arm and base."""
    cells = cells_of(runs)
    rows = [
        (f"{arm} / {base}", *(_shown(of(cell, arm, base)) for cell in cells))
        for arm, base in _pairs(runs)
    ]
    if rows:
        yield from markdown_table(title, ("", *cells), rows)


def _waits(runs: Sequence[Run]) -> Iterator[str]:
    """Where requests wait for the first piece: medians of means, and differences of pairs."""
    for metric, title in WAITS.items():
        yield from _medians(runs, metric, f"On the way to the first piece, ms: {title}")
        yield from _of_pairs(
            runs,
            f"The same, by how many ms more: {title}",
            lambda cell, *of, metric=metric: difference(figures(runs, cell, metric), *of),
        )


def _medians(runs: Sequence[Run], metric: str, title: str) -> Iterator[str]:
    """A row for each arm, a column for each load."""
    cells = cells_of(runs)
    rows = [
        (_title(name), *(_median(runs, cell, metric, name) for cell in cells))
        for name in _names(runs)
    ]
    yield from markdown_table(title, ("", *cells), rows)


def _median(
    runs: Sequence[Run], cell: str, metric: str, arm: str, *, refused: bool | None = None
) -> str:
    """Over the repetitions."""
    found = figures(runs, cell, metric, refused=refused)
    values = [value for (name, _), value in found.items() if name == arm]
    return f"{np.median(values):.4g}" if values else NONE


def _by_outcome(runs: Sequence[Run]) -> Iterator[str]:
    """Answered and refused requests apart, where answers end by themselves."""
    metrics = ("tokens", "ttft", "first_text", "e2e")
    rows = []
    for name in _names(runs):
        for refused, what in ((False, "answered"), (True, "refused")):
            own = [_median(runs, NATURAL, metric, name, refused=refused) for metric in metrics]
            if own[0] != NONE:
                rows.append((_title(name), what, *own))
    head = ("", "", "tokens", *(METRICS[metric] for metric in metrics[1:]))
    yield from markdown_table("Answers that end where the model ends them", head, rows)


def _servers(journal: Journal, runs: Sequence[Run]) -> Iterator[str]:
    setup = journal.first(Setup)
    if setup is not None and setup.options.get("shared"):
        return  # One server was all arms.
    starts = {(run.arm, run.repetition): run.first_answer_s for run in runs}
    rows = []
    for name in _names(runs):
        own = [
            (run.listens_s, run.first_answer_s, run.memory.peak, run.memory.proportional)
            for run in runs
            if run.arm == name
        ]
        medians = (f"{value:.4g}" for value in np.median(own, axis=0))
        rows.append((_title(name), *medians, _shown(ratio(starts, name, "a"))))
    many = journal.first(Many)
    if many is not None:
        title = f"f {many.servers} stock servers, one per refusal setting"
        memory = (f"{many.memory.peak:.4g}", f"{many.memory.proportional:.4g}")
        rows.append((title, NONE, NONE, *memory, NONE))
    head = ("", "listens, s", "first answer, s", "peak MiB", "MiB, shared once")
    yield from markdown_table("Start and memory", (*head, "first answer, ratio to a"), rows)


def _names(runs: Sequence[Run]) -> list[str]:
    return [name for name in ARMS if any(run.arm == name for run in runs)]


def _pairs(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Those of which both were measured."""
    return [pair for pair in PAIRS if {*pair} <= {*_names(runs)}]


def _title(name: str) -> str:
    return f"{name} {ARMS[name].title}"


def _shown(found: Estimate | None) -> str:
    return NONE if found is None else str(found)
