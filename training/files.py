"""Data of a recipe from files of JSON lines, which its settings name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from training.categories import COCONOT, manifest_of
from training.config import Section, Splits
from training.records import Purpose, Record, RecordError, read_records


def _split(value: Any) -> Any:
    return tuple(filter(None, value.split(","))) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Files = Annotated[tuple[Path, ...], BeforeValidator(_split)]
"""Given as text, the parts stand with commas between them."""


class JsonLines(Section):
    """Records from files, in the order in which they are named."""

    train: Files = ()
    calibration: Files = ()
    """Held-out prompts for demur-calibrate; none leave the checkpoint to thresholds."""
    test: Files = ()
    categories: Names = COCONOT
    """The categories to refuse by; their order is that of the checkpoint."""
    notice: str = ""
    """What people who are about to use the checkpoint should know; printed at start-up."""

    def __call__(self, seed: int) -> Splits:  # noqa: ARG002 - files are as they are
        """Read the files. Raises RecordError with the faults of all of them."""
        faults = [] if self.train else ["data.train names no file of training records"]
        train = self._read(self.train, "training", faults)
        calibration = self._read(self.calibration, "calibration", faults)
        test = self._read(self.test, "calibration", faults)
        if faults:
            raise RecordError(faults)
        return Splits(train, calibration, test, manifest_of(self.categories, self.notice))

    def _read(self, files: Sequence[Path], purpose: Purpose, faults: list[str]) -> list[Record]:
        records: list[Record] = []
        for file in files:
            try:
                records += read_records(file, purpose, self.categories)
            except RecordError as error:
                faults += error.faults
        return records
