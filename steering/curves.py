"""What a dial does over its whole range: joint solutions from rate 0 to rate 1."""

from collections.abc import Collection, Sequence

from steering.joint import Asked, Joint, JointSolver

RANGE = tuple(step / 20 for step in range(21))
"""Rates of a curve: every twentieth, with both ends."""


def curve(
    solver: JointSolver,
    categories: Collection[int],
    rest: Asked,
    rates: Sequence[float] = RANGE,
) -> tuple[Joint, ...]:
    """One solution for each of `rates`, which all of `categories` (indices) have in common.

    rest: what the other categories are asked for, and everybody's bounds.
    Raises CalibrationError if one of `categories` has no calibration prompts.
    """
    return tuple(solver.solve(rest.at(rate, categories)) for rate in rates)
