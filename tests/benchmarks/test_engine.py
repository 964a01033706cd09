import numpy as np
import pytest

from benchmarks.engine import KINDS, TOKENS, Times, options

STEP = np.array([2.0, 4.0, 6.0])


def of_kinds(*factors: float) -> np.ndarray:
    """Steps whose blocks take longer and longer, times a factor for each kind."""
    assert len(factors) == len(KINDS)
    return np.outer(factors, STEP)


@pytest.mark.parametrize("at_once", [1, 8, TOKENS])
def test_an_answer_has_the_control_tokens_step_and_one_that_it_joins(at_once: int) -> None:
    found = Times(joined=of_kinds(3.0, 3.0, 3.5), plain=of_kinds(1.0, 1.0, 1.25))
    stock = at_once * 3 + (TOKENS - at_once)
    gated = at_once * 3.5 + (TOKENS + 1 - at_once) * 1.25
    assert found.answer(at_once).value == pytest.approx(gated / stock)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--at-once", "0"], "--at-once: 0 is not between 1 and 128"),
        (["--at-once", "129"], "--at-once: 129 is not between 1 and 128"),
        (["--blocks", "1"], "--blocks: 1 is not at least 2"),
    ],
)
def test_numbers_that_cannot_be(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options(argv)
    assert message in capsys.readouterr().err
