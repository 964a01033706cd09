"""The picture of `demur-train check`: counts by label, and lengths."""

import numpy as np
from matplotlib.figure import Figure

from training.datasets.statistics import Statistics

_BINS = 40


def draw(statistics: Statistics, limit: int | None) -> Figure:
    """Counts by label and split, beside the lengths; `limit` marks where training cuts."""
    figure = Figure(figsize=(11, 1.8 + 0.35 * len(statistics.labels)), layout="constrained")
    left, right = figure.subplots(1, 2)
    labels = statistics.labels
    at = np.arange(len(labels))
    behind = np.zeros(len(labels))
    for split, by_label in statistics.counts.items():
        width = np.array([by_label.get(label, 0) for label in labels])
        left.barh(at, width, left=behind, label=split)
        behind += width
    left.set_yticks(at, labels)
    left.invert_yaxis()
    left.set_xlabel("records")
    left.legend()
    longest = max((max(lengths, default=1) for lengths in statistics.lengths.values()), default=1)
    bins = np.linspace(0, max(longest, 1), _BINS + 1)
    for split, lengths in statistics.lengths.items():
        right.hist(lengths, bins=bins, histtype="step", label=split)
    if limit is not None:
        right.axvline(limit, color="black", linestyle=":", label=f"cut at {limit}")
    right.set_xlabel(f"length in {statistics.unit}")
    right.set_ylabel("records")
    right.legend()
    return figure
