import numpy as np
import pytest

from benchmarks.turns import later, times_first

FOUND = np.outer([1.0, 1.0, 1.5], [2.0, 4.0, 6.0])
"""Three kinds of work in three blocks that take longer and longer."""


def test_kinds_are_compared_within_a_block() -> None:
    assert str(times_first(FOUND, 1)) == "1.000 (1.000 to 1.000)"
    more = times_first(FOUND, 2)
    assert (more.value, more.pairs) == (1.5, 3)
    assert more.low == pytest.approx(1.5)


def test_a_delay_is_in_the_first_kinds_steps() -> None:
    found = later(FOUND, 2, steps=np.array([0.5, 1.0, 1.5]))
    assert found.value == 2
    assert (found.low, found.high) == pytest.approx((2, 2))
