"""Figures on disk."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

FORMATS = ("png", "svg")


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write the figure as `stem`.png and `stem`.svg; returns the paths.

    The same figure gives the same SVG.
    """
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in FORMATS]
    with rc_context({"svg.hashsalt": "demur"}):
        for path in paths:
            figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else {})
    return paths
