"""Labelled prompts of several files, and their calibration scores."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from steering.manifest import Manifest, Scope
from training.records import Record, RecordError, read_records
from training.scorer import Scorer

if TYPE_CHECKING:
    from steering.calibration import CalibrationScores

logger = logging.getLogger(__name__)


def read_prompts(paths: Iterable[Path], categories: Sequence[str]) -> list[Record]:
    """The records of several files, each prompt with its label once.

    Twins would tie, and make intervals narrower than they are. Raises RecordError with the faults
    of all files.
    """
    records: list[Record] = []
    faults: list[str] = []
    for path in paths:
        try:
            records.extend(read_records(path, "calibration", categories))
        except RecordError as error:
            faults.extend(error.faults)
    if faults:
        raise RecordError(faults)
    distinct = list({(record.prompt, record.category): record for record in records}.values())
    if len(distinct) < len(records):
        logger.warning(
            "%d of %d prompts are there more than once, and are counted once",
            len(records) - len(distinct),
            len(records),
        )
    return distinct


def score(
    scorer: Scorer, manifest: Manifest, records: Sequence[Record], scope: Scope
) -> "CalibrationScores":
    """Scores of the records' prompts, with their labels. Raises ScorerError."""
    # Only now: these imports take seconds.
    import numpy as np

    from steering.calibration import COMPLY_INDEX, CalibrationScores

    scores = scorer.score([record.prompt for record in records], scope)
    labels = [
        COMPLY_INDEX if record.category is None else manifest.names.index(record.category)
        for record in records
    ]
    return CalibrationScores(manifest.names, np.array(labels, dtype=np.int64), scores)
