import logging
import sys

import pytest

from training import progress
from training.progress import Progress


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="training")
    return caplog


def test_elsewhere_than_on_a_terminal_lines_are_logged(
    logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0.0)
    with Progress("training", 4, done=1) as shown:
        shown.advance()
        shown.show("loss 1.5")
        shown.advance(2)
    assert [line[:13] for line in logged.messages] == ["training: 2/4", "training: 4/4"]
    assert logged.messages[1].endswith("0 s left, loss 1.5")


def test_lines_are_few(logged: pytest.LogCaptureFixture) -> None:
    with Progress("scoring", 1000) as shown:
        for _ in range(1000):
            shown.advance()
    assert len(logged.messages) == 1


def test_a_terminal_gets_a_bar(
    logged: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("training", 2) as shown:
        shown.show("loss 1.5")
        shown.advance(2)
    bar = capsys.readouterr().err
    assert "training: 100%" in bar
    assert "loss 1.5" in bar
    assert not logged.messages
