"""Thresholds for traffic of one's own, without labels: "this is my traffic, refuse 2% of it".

Without labels there is no share of a category's own prompts, so no rate; what can be asked for is a
share of everything. All categories get the same threshold, at the score that this share of the
prompts reaches with its largest category: the prompts that the model is surest it should refuse.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from steering.calibration import wanted_of
from steering.gate import decide
from steering.intervals import Interval, at_fixed_threshold, prompts_needed
from steering.settings import log_odds_of, probability_of
from training.datasets.load import load_records
from training.errors import TrainingError
from training.records import Record


class TrafficError(TrainingError):
    """A share of this traffic cannot be had."""


@dataclass(frozen=True)
class TrafficThreshold:
    """One threshold for all categories."""

    probability: float
    """As a request's `refusal_thresholds` take it."""
    refused: int
    """Prompts of the traffic that it refuses."""
    prompts: int

    @property
    def interval(self) -> Interval:
        """Of the share that is refused of new traffic like it; on the wide side."""
        return at_fixed_threshold(self.refused, self.prompts)

    def settings(self, categories: Sequence[str]) -> str:
        """What to put into a request, as JSON."""
        return json.dumps({"refusal_thresholds": dict.fromkeys(categories, self.probability)})


def read_traffic(sources: Iterable[str]) -> list[Record]:
    """Prompts from sources; labels are not needed, and not looked at.

    Raises RecordError with the faults of all sources.
    """
    return [
        replace(record, category=None, contrast_of=None)
        for record in load_records(sources, default="prompts")
    ]


def threshold_for(scores: npt.NDArray[np.float32], share: float) -> TrafficThreshold:
    """The threshold that refuses `share` (above 0, up to 1) of prompts with `scores` [n, C].

    It lies half way between the last prompt refused and the next, so that rounding moves neither;
    prompts that tie with the last are refused too.
    Raises TrafficError if the share is less than half a prompt, if scores are NaN, or if they are
    so high that probabilities cannot tell the threshold from 1.
    """
    if lost := int(np.isnan(scores).any(axis=1).sum()):
        raise TrafficError(f"{lost} of {len(scores)} prompts have scores that are NaN")
    largest = np.sort(scores.max(axis=1).astype(np.float64))[::-1]
    wanted = wanted_of(share, len(largest))
    if not wanted:
        raise TrafficError(
            f"a share of {share:g} of {len(largest)} prompts is not one prompt: give at least"
            f" {prompts_needed(share)}"
        )
    refused = int((largest >= largest[wanted - 1]).sum())
    last, following = largest[refused - 1], largest[refused : refused + 1]
    probability = probability_of(float(np.mean([last, *following])))
    counted = decide(scores, np.full(scores.shape[1], log_odds_of(probability), np.float32))
    if not math.isfinite(log_odds_of(probability)) or (counted >= 0).sum() != refused:
        raise TrafficError(
            f"the threshold for a share of {share:g} is at log-odds {last:.1f}, which a probability"
            " cannot express; label the prompts, calibrate on them and use rates"
        )
    return TrafficThreshold(probability, refused, len(largest))
