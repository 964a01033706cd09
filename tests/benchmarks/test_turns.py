from pathlib import Path

import numpy as np
import pytest

from benchmarks.turns import later, options, times_first

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


@pytest.mark.parametrize(
    ("argv", "most", "message"),
    [
        (["--at-once", "0"], None, "--at-once: 0 is not at least 1"),
        (["--at-once", "0"], 128, "--at-once: 0 is not between 1 and 128"),
        (["--at-once", "129"], 128, "--at-once: 129 is not between 1 and 128"),
        (["--blocks", "1"], None, "--blocks: 1 is not at least 2"),
    ],
)
def test_numbers_that_cannot_be(
    argv: list[str],
    most: int | None,
    message: str,
    of_checkpoint: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        options("", 200, most=most, argv=[*of_checkpoint, *argv])
    assert message in capsys.readouterr().err


def test_without_a_limit_any_number_at_once_may_be(of_checkpoint: list[str]) -> None:
    found = options("", 200, argv=[*of_checkpoint, "--at-once", "129"])
    assert (found.at_once, found.checkpoint) == ([129], Path(of_checkpoint[1]))


def test_a_folder_without_a_manifest_is_no_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options("", 200, argv=["--checkpoint", str(tmp_path / "none")])
    message = capsys.readouterr().err
    assert f"--checkpoint: {tmp_path / 'none' / 'refusal.json'} cannot be read" in message
