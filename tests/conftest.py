"""What tests measured, shown at the end of the run."""

from collections.abc import Callable

import pytest
from hypothesis import settings

# A busy machine is no fault of the code under test.
settings.register_profile("demur", deadline=None)
settings.load_profile("demur")

_MEASURED = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """A function that takes a line for the end of the run."""
    return pytestconfig.stash.setdefault(_MEASURED, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = terminalreporter.config.stash.get(_MEASURED, [])
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)
