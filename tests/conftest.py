"""For every test: a browser, what tests measured, shown at the end, and which worker runs what."""

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SERVERS = ("workers", "scripted")
"""Groups of tests on the same servers; long ones. The first has all with worker processes."""

# A busy machine is no fault of the code under test.
settings.register_profile("demur", deadline=None)
settings.load_profile("demur")

_MEASURED = pytest.StashKey[list[str]]()
_SENT = "demur_measured"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Beside another worker; before torch is imported, and for all processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """A function that takes a line for the end of the run."""
    return pytestconfig.stash.setdefault(_MEASURED, []).append


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one worker, but for those in a group; what takes longest comes first.

    Groups are named by `xdist_group`: of all tests that share a server.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    marker = item.get_closest_marker("xdist_group")
    if marker is not None and marker.args[0] in SERVERS:
        return SERVERS.index(marker.args[0])
    return len(SERVERS) + ("e2e" not in item.path.parts)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where this is a worker: send what its tests measured to whom it works for."""
    sent: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if sent is not None:
        sent[_SENT] = session.config.stash.get(_MEASURED, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker has ended."""
    lines = getattr(node, "workeroutput", {}).get(_SENT, [])
    node.config.stash.setdefault(_MEASURED, []).extend(lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = terminalreporter.config.stash.get(_MEASURED, [])
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Headless Chromium; not for longer than a module, since its event loop stays in the way."""
    from tests.browser import launched

    with launched() as running:
        yield running
