"""What has its turn in every block: each kind of work beside the first one, on the same machine.

A shared machine changes by several percent within seconds. What is done in turn, in blocks that are
shorter than that, sees the same machine; a few disturbed blocks do not move a median.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.checkpoint import add_checkpoint
from benchmarks.serving.compare import Estimate, Floats, bootstrapped

AT_ONCE = (1, 8, 32)


def options(
    doc: str, blocks: int, *, most: int | None = None, argv: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse the command line of a benchmark; doc: its module's, blocks: by default.

    most: how many answers may be written at once; None for any number.
    """
    parser = argparse.ArgumentParser(description=doc.split("\n", 1)[0])
    add_checkpoint(parser)
    add = parser.add_argument
    add("--layers", type=int, metavar="N", help="of a deeper copy, served in its place")
    add(
        "--at-once",
        type=int,
        nargs="+",
        default=AT_ONCE,
        metavar="N",
        help=f"answers (default: {' '.join(map(str, AT_ONCE))})",
    )
    add("--blocks", type=int, default=blocks, metavar="N", help="of turns (default: %(default)s)")
    found = parser.parse_args(argv)
    for at_once in found.at_once:
        if at_once < 1 or (most is not None and at_once > most):
            allowed = "at least 1" if most is None else f"between 1 and {most}"
            parser.error(f"--at-once: {at_once} is not {allowed}")
    if found.blocks < 2:
        parser.error(f"--blocks: {found.blocks} is not at least 2")
    return found


def times_first(found: Floats, at: int) -> Estimate:
    """The median of one kind's figures, times the first kind's; found: [kinds, n], by block."""

    def ratio(first: Floats, more: Floats, axis: int) -> Any:
        return 1 + np.median(more, axis=axis) / np.median(first, axis=axis)

    return bootstrapped(ratio, *and_more(found, at))


def later(found: Floats, at: int, steps: Floats) -> Estimate:
    """By how many of the first kind's `steps` ([n]) one kind's figures are more than its."""

    def delay(more: Floats, step: Floats, axis: int) -> Any:
        return np.median(more, axis=axis) / np.median(step, axis=axis)

    return bootstrapped(delay, and_more(found, at)[1], steps)


def and_more(found: Floats, at: int) -> tuple[Floats, Floats]:
    """The first kind's figures, and how much more this kind's are in the same block; [n] each."""
    return found[0], found[at] - found[0]
