"""The plots of a comparison, each as PNG and SVG."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.serving.arms import ARMS, PAIRS
from benchmarks.serving.compare import METRICS, cells_of, compared, figures
from benchmarks.serving.results import Journal, Many, Run
from training.drawing import save
from training.figures import STYLE

FLOOR, RATIO = "tab:grey", "tab:blue"


def draw_all(journal: Journal, folder: Path) -> Iterator[Path]:
    """Draw what was measured into `folder`; yields the paths."""
    runs = journal.runs()
    with rc_context(STYLE):
        yield from save(ratios(runs), folder / "ratios")
        yield from save(first_tokens(runs), folder / "first-token")
        yield from save(memory(journal), folder / "memory")


def ratios(runs: Sequence[Run]) -> Figure:
    """Every ratio with its interval: a panel per figure and pair, a row per load."""
    names = {run.arm for run in runs}
    shown = [pair for pair in PAIRS if {*pair} <= names]
    cells = cells_of(runs)
    size = (3 * len(METRICS), 0.8 + (0.5 + 0.3 * len(cells)) * max(1, len(shown)))
    figure = Figure(figsize=size)
    panels = figure.subplots(max(1, len(shown)), len(METRICS), squeeze=False, sharey=True)
    for row, (arm, base) in zip(panels, shown, strict=False):
        for axes, metric in zip(row, METRICS, strict=True):
            _ratios_of(axes, runs, cells, metric, (arm, base))
            axes.set_title(f"{arm} / {base}: {metric}", fontsize="small")
    return figure


def _ratios_of(
    axes: Axes, runs: Sequence[Run], cells: Sequence[str], metric: str, pair: tuple[str, str]
) -> None:
    axes.axvline(1, color="black", linewidth=0.8)
    for at, cell in enumerate(cells):
        for (arm, base), colour, width in ((PAIRS[0], FLOOR, 7), (pair, RATIO, 1.5)):
            found = compared(runs, cell, metric, arm, base)
            if found is None:
                continue
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [at, at], color=colour, linewidth=width)
            if colour == RATIO:
                axes.plot([found.value], [at], "o", color=colour, markersize=4)
    axes.set_yticks(range(len(cells)), cells)
    axes.set_ylim(len(cells) - 0.5, -0.5)


def first_tokens(runs: Sequence[Run]) -> Figure:
    """Time to the first token by load, a line for each arm; every repetition is a point."""
    figure = Figure(figsize=(8, 4.5))
    axes = figure.subplots()
    cells = cells_of(runs)
    for name in (name for name in ARMS if any(run.arm == name for run in runs)):
        medians = []
        for at, cell in enumerate(cells):
            found = figures(runs, cell, "first_text")
            own = [value for (arm, _), value in found.items() if arm == name]
            medians.append(float(np.median(own)) if own else float("nan"))
            axes.plot([at] * len(own), own, ".", color=_colour(name), alpha=0.4)
        axes.plot(medians, color=_colour(name), label=f"{name} {ARMS[name].title}")
    axes.set_xticks(range(len(cells)), cells, rotation=15)
    axes.set_yscale("log")
    axes.set_ylabel(METRICS["first_text"])
    axes.legend(fontsize="small")
    return figure


def memory(journal: Journal) -> Figure:
    """Memory and time of start of each arm."""
    runs = journal.runs()
    names = [name for name in ARMS if any(run.arm == name for run in runs)]
    labels = [f"{name} {ARMS[name].title}" for name in names]
    own = [[run for run in runs if run.arm == name] for name in names]
    held = [float(np.median([run.memory.proportional for run in some])) for some in own]
    starts = [float(np.median([run.first_answer_s for run in some])) for some in own]
    many = journal.first(Many)
    figure = Figure(figsize=(11, 1.5 + 0.35 * (len(names) + 1)))
    left, right = figure.subplots(1, 2)
    right.barh(labels, starts, color=RATIO)
    if many is not None:
        labels = [*labels, f"f {many.servers} servers"]
        held = [*held, many.memory.proportional]
    left.barh(labels, held, color=RATIO)
    left.set_xlabel("memory, MiB")
    right.set_xlabel("start to first answer, s")
    for axes in (left, right):
        axes.invert_yaxis()
    return figure


def _colour(name: str) -> str:
    return f"C{[*ARMS].index(name)}"
