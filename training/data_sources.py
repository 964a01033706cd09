"""Data of a recipe from sources of records, which its settings name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BeforeValidator, Field

from steering.manifest import CategoryName, Manifest
from steering.refusal_templates import RefusalTemplates
from training.arguments import repeated
from training.categories import COCONOT, manifest_of
from training.config import Section, Splits
from training.datasets.load import load_records
from training.records import Purpose, Record, RecordError


def _split(value: Any) -> Any:
    return tuple(filter(None, value.split(","))) if isinstance(value, str) else value


def _no_twins(names: tuple[str, ...]) -> tuple[str, ...]:
    if twin := repeated(names):
        raise ValueError(f"{twin!r} is listed twice")
    return names


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Given as text, the parts stand with commas between them."""
Categories = Annotated[
    tuple[CategoryName, ...],
    Field(min_length=1),
    BeforeValidator(_split),
    AfterValidator(_no_twins),
]


class DataSources(Section):
    """Records from sources, as `training.datasets.sources` reads them, in the order given."""

    train: Names = ()
    calibration: Names = ()
    """Held-out prompts for demur-calibrate; none leave the checkpoint to thresholds."""
    test: Names = ()
    categories: Categories = COCONOT
    """The categories to refuse by; their order is that of the checkpoint."""
    notice: str = ""
    """What people who are about to use the checkpoint should know; printed at start-up."""
    templates: str = ""
    """A file of refusal templates for the checkpoint (docs/templates.md); empty gives it none."""

    def __call__(self, seed: int) -> Splits:  # noqa: ARG002 - sources are as they are
        """Read the sources. Raises RecordError with the faults of all of them."""
        faults = [] if self.train else ["data.train names no source of training records"]
        train = self._read(self.train, "training", faults)
        calibration = self._read(self.calibration, "calibration", faults)
        test = self._read(self.test, "calibration", faults)
        manifest = manifest_of(self.categories, self.notice)
        templates = self._read_templates(manifest, faults) if self.templates else None
        if faults:
            raise RecordError(faults)
        return Splits(train, calibration, test, manifest, templates)

    def _read(self, sources: Sequence[str], purpose: Purpose, faults: list[str]) -> list[Record]:
        try:
            return load_records(sources, purpose, self.categories)
        except RecordError as error:
            faults += error.faults
            return []

    def _read_templates(self, manifest: Manifest, faults: list[str]) -> RefusalTemplates | None:
        try:
            text = Path(self.templates).read_text(encoding="utf-8")
            templates = RefusalTemplates.model_validate(yaml.safe_load(text))
        except OSError as error:
            faults.append(f"{self.templates}: cannot be read: {error.strerror}")
        except (yaml.YAMLError, ValueError) as error:
            faults.append(f"{self.templates}: {error}")
        else:
            faults += [
                f"{self.templates}: {'.'.join(where)}: {fault}"
                for where, fault in templates.faults(manifest)
            ]
            return templates
        return None
