"""For every test: a browser, what tests measured, shown at the end, and which worker runs what."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GROUPS = {
    "tiny model's server": [
        *("bad_clients", "bad_requests", "chat", "faults"),
        *("playground", "rates", "scores", "soak"),
    ],
    "scripted server": ["attacks", "decided_ahead", "fuzz", "shapes", "templates"],
}
"""Tests in tests/e2e that one worker runs, where several run side by side: they share servers."""

# A busy machine is no fault of the code under test.
settings.register_profile("demur", deadline=None)
settings.load_profile("demur")

_MEASURED = pytest.StashKey[list[str]]()
_SENT = "demur_measured"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Beside another worker; before torch is imported, and for all processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A script's background job does not hear of Ctrl-C, nor would what tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """A function that takes a line for the end of the run."""
    return pytestconfig.stash.setdefault(_MEASURED, []).append


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: the other worker has something to do meanwhile."""
    places = {group: place for place, group in enumerate(GROUPS)}
    end = len(places)
    items.sort(
        key=lambda item: places.get(_group(item.nodeid), end + ("e2e" not in item.path.parts))
    )


def _group(nodeid: str) -> str:
    """What one worker runs: the tests of a group, or of a file."""
    file = PurePath(nodeid.split("::")[0])
    for group, names in GROUPS.items():
        if file.parent.name == "e2e" and file.stem.removeprefix("test_") in names:
            return group
    return str(file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Workers of xdist's. Its own groups (xdist 3.8) come to nothing with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByGroup(config, log)


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
