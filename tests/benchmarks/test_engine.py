import numpy as np
import pytest

from benchmarks.engine import KINDS, TOKENS, Times

STEP = np.array([2.0, 4.0, 6.0])


def of_kinds(*factors: float) -> np.ndarray:
    """Steps whose blocks take longer and longer, times a factor for each kind."""
    assert len(factors) == len(KINDS)
    return np.outer(factors, STEP)


@pytest.mark.parametrize("at_once", [1, 8, TOKENS])
def test_an_answer_joins_one_step_and_has_another_for_each_token(at_once: int) -> None:
    found = Times(joined=of_kinds(3.0, 3.0, 3.5), plain=of_kinds(1.0, 1.0, 1.25))
    stock = at_once * 3 + (TOKENS + 1 - at_once)
    gated = at_once * 3.5 + (TOKENS + 1 - at_once) * 1.25
    assert found.answer(at_once).value == pytest.approx(gated / stock)
