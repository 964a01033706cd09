"""Headless Chromium for tests of the playground, and what its console says."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
"""A test's browser asks nobody but the test's server."""
EXPECT_MS = 30_000
"""A busy machine is slow; five seconds, Playwright's default, may be too few."""


def chromium() -> str | None:
    """Where Chromium is, under whatever name; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser until the block ends; the test is skipped where there is none.

    While it runs, an event loop runs in this thread: tests beside it cannot start their own.
    """
    executable = chromium()
    if executable is None:
        pytest.skip("needs Chromium: scripts/chromium.sh, or apt-get install chromium")
    expect.set_options(timeout=EXPECT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=QUIET, chromium_sandbox=os.geteuid() != 0
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, expected: str | None = None, **options: Any) -> Iterator[Page]:
    """A page in a profile of its own; fails at the end if its console has an error.

    Violations of the Content-Security-Policy are such errors. expected: a word of those that must
    be there, and may. options: of Playwright's context.
    """
    context = browser.new_context(**options)
    page = context.new_page()
    problems: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            problems.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: problems.append(str(error)))
    try:
        yield page
    finally:
        context.close()
    known = [text for text in problems if expected is not None and expected in text]
    assert problems == known
    assert known or expected is None
