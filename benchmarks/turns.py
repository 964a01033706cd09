"""What has its turn in every block: each kind of work beside the first one, on the same machine.

A shared machine changes by several percent within seconds. What is done in turn, in blocks that are
shorter than that, sees the same machine; a few disturbed blocks do not move a median.
"""

from typing import Any

import numpy as np

from benchmarks.serving.compare import Estimate, Floats, bootstrapped


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
