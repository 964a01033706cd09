"""Compare models that `demur-eval` has evaluated on the same prompts.

    python -m training.evaluation.side_by_side NAME=DIR[,DIR...] ... --output DIR

Each NAME is a model, or several runs of one with other seeds, whose results lie in these folders.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.arguments import repeated
from training.errors import TrainingError

REPORT, PLOT = "comparison.md", "comparison"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's). Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.side_by_side",
        description="Put models that demur-eval has evaluated on the same prompts beside each"
        " other, with intervals over runs and prompts.",
    )
    add = parser.add_argument
    add("variants", nargs="+", type=_variant, metavar="NAME=DIR[,DIR...]", help="results of runs")
    add("--output", type=Path, required=True, metavar="DIR", help=f"for {REPORT} and its plot")
    arguments = parser.parse_args(argv)
    if again := repeated([name for name, _ in arguments.variants]):
        parser.error(f"{again} is given twice: name all folders of its runs at once")
    try:
        lines, paths = write_comparison(dict(arguments.variants), arguments.output)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    for path in paths:
        print(f"wrote {path}")
    return 0


def write_comparison(
    variants: Mapping[str, Sequence[Path]], output: Path
) -> tuple[list[str], list[Path]]:
    """Compare the results in these folders, the first variant being what others differ from.

    Returns the tables' lines and the paths written. Raises EvalError.
    """
    # Only now: these imports take seconds.
    from training.drawing import save
    from training.evaluation.compare import compare, comparison_tables
    from training.evaluation.plots import comparison
    from training.evaluation.replies import read_replies

    found = {name: [read_replies(run) for run in runs] for name, runs in variants.items()}
    rows = compare(found)
    counts = ", ".join(f"{name} {len(runs)}" for name, runs in found.items())
    lines = ["# Comparison", "", f"Runs: {counts}.", *comparison_tables(rows)]
    output.mkdir(parents=True, exist_ok=True)
    path = output / REPORT
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines, [path, *save(comparison(rows), output / PLOT)]


def _variant(text: str) -> tuple[str, list[Path]]:
    name, _, folders = text.partition("=")
    paths = [Path(folder) for folder in folders.split(",") if folder]
    if not name or not paths:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR[,DIR...]")
    return name, paths


if __name__ == "__main__":
    sys.exit(main())
