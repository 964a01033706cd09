"""Labelled prompts of several sources, and their calibration scores."""

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from steering.manifest import Manifest, Scope
from training.datasets.load import load_records
from training.records import Record
from training.scorer import Scorer, ScorerError

if TYPE_CHECKING:
    from steering.calibration import CalibrationScores

logger = logging.getLogger(__name__)


def read_prompts(sources: Iterable[str], categories: Sequence[str]) -> list[Record]:
    """The records of several sources, each prompt with its label once.

    Twins would tie, and make intervals narrower than they are. Raises RecordError with the faults
    of all sources.
    """
    records = load_records(sources, "calibration", categories)
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
    """Scores of the records' prompts, with their labels and shapes.

    Raises what the scorer raises, and ScorerError where it gives what is no number.
    """
    # Only now: these imports take seconds.
    import numpy as np

    from steering.calibration import COMPLY_INDEX, CalibrationError, CalibrationScores

    prompts = [record.prompt for record in records]
    scores = scorer.score(prompts, scope)
    labels = [
        COMPLY_INDEX if record.category is None else manifest.names.index(record.category)
        for record in records
    ]
    try:
        return CalibrationScores(
            manifest.names,
            np.array(labels, dtype=np.int64),
            scores,
            np.array([prompt.shape for prompt in prompts], dtype=np.uint8),
        )
    except CalibrationError as error:
        raise ScorerError(f"{scope}, by {scorer.engine} in {scorer.dtype}: {error}") from error
