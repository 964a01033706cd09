"""Progress of long work: a bar on a terminal, a line in the log every few seconds elsewhere."""

import logging
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

LOG_INTERVAL = 10.0
"""Seconds between two lines in the log."""

logger = logging.getLogger(__name__)


class Progress:
    """Counts `total` units of work, `done` of them behind us already."""

    def __init__(self, label: str, total: int, *, done: int = 0, unit: str = "step") -> None:
        self._label = label
        self._total = total
        self._first = self._done = done
        self._figures = ""
        self._start = self._logged = time.monotonic()
        self._bar = (
            tqdm(total=total, initial=done, desc=label, unit=unit, dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def advance(self, units: int = 1) -> None:
        """Count `units` more."""
        self._done += units
        if self._bar is not None:
            self._bar.update(units)
        elif self._done >= self._total or time.monotonic() - self._logged >= LOG_INTERVAL:
            self._log()

    def show(self, figures: str) -> None:
        """Show `figures`, for example `loss 1.23`, from now on."""
        self._figures = figures
        if self._bar is not None:
            self._bar.set_postfix_str(figures)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _log(self) -> None:
        self._logged = time.monotonic()
        spent = self._logged - self._start
        left = spent / (self._done - self._first) * (self._total - self._done)
        figures = f", {self._figures}" if self._figures else ""
        logger.info(
            "%s: %d/%d, %.0f s, %.0f s left%s",
            self._label,
            self._done,
            self._total,
            spent,
            left,
            figures,
        )
