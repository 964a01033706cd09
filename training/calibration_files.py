"""Writing a calibration into a checkpoint so that whatever happens, it has one that is whole."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from steering.manifest import MANIFEST_FILE, Calibration, Manifest, Scope, scores_file

if TYPE_CHECKING:
    from steering.calibration import CalibrationScores

STAGE = "calibration.part"
"""A folder in the checkpoint, gone once all is in place."""


def write_calibration(
    checkpoint: Path,
    manifest: Manifest,
    calibration: Calibration,
    by_scope: "Mapping[Scope, CalibrationScores]",
) -> None:
    """Put the scores of every scope and a manifest with `calibration` into the checkpoint.

    All of it is written beside what is there before any of it is renamed into place, so a full disk
    leaves the checkpoint as it was. Scores never stand beside another calibration's summary: in
    between, the manifest has none.
    """
    stage = checkpoint / STAGE
    shutil.rmtree(stage, ignore_errors=True)
    between = stage / "between"
    between.mkdir(parents=True)
    manifest.model_copy(update={"calibration": None}).save(between)
    for scope, scores in by_scope.items():
        scores.save(stage, scope)
    manifest.model_copy(update={"calibration": calibration}).save(stage)
    (between / MANIFEST_FILE).replace(checkpoint / MANIFEST_FILE)
    for scope in by_scope:
        (checkpoint / scores_file(scope)).parent.mkdir(exist_ok=True)
        (stage / scores_file(scope)).replace(checkpoint / scores_file(scope))
    (stage / MANIFEST_FILE).replace(checkpoint / MANIFEST_FILE)
    shutil.rmtree(stage)
