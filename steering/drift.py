"""Have the prompts changed since the calibration? Scores of live prompts against the calibration's.

Rates hold for prompts like those that were calibrated on. Labels of live prompts are not known, so
what can be compared is the distribution of each category's score over all prompts, whatever they
are; it also moves when the mix of prompts does. The figure is the population stability index,
PSI = sum over bins of (q - p) log(q / p), p and q being the shares of calibration and live scores
in bins that hold equally many calibration scores. By custom below 0.1 is stable, and above 0.25 has
changed (Siddiqi, Credit Risk Scorecards, 2006).

Chance alone gives an index of about (B - 1)(1/n + 1/m), for B bins and n against m scores: times
nm/(n + m) it is chi-squared with B - 1 degrees of freedom (Yurdakul, Western Michigan University,
2018). So the alarm is raised above 0.1, or above what chance rarely reaches, if that is more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

BINS = 10
STABLE = 0.1
"""Index up to which a distribution is stable, by custom."""
FALSE_ALARMS = 0.0001
"""Probability that chance alone passes the limit, for each look at one category."""
EMPTY = 0.5
"""Scores that every bin is given more, lest empty bins make the index infinite."""
WINDOW = 1000
"""Live prompts that are compared."""
FEWEST = 100
"""Live prompts below which nothing is said."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Drift:
    """How far one category's live scores are from the calibration's."""

    category: str
    index: float
    """Population stability index."""
    limit: float
    """Index above which it is an alarm."""

    @property
    def alarm(self) -> bool:
        """Whether the scores have changed by more than custom and chance allow."""
        return self.index > self.limit


def stability_index(reference: npt.ArrayLike, live: npt.ArrayLike, bins: int = BINS) -> float:
    """The population stability index of `live` ([m]) against `reference` ([n]).

    Bins lie between quantiles of `reference`; where its scores tie there are fewer of them.
    """
    reference, live = np.asarray(reference), np.asarray(live)
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    edges = np.unique(np.quantile(reference, inner, method="lower"))
    p, q = (_smoothed(scores, edges) for scores in (reference, live))
    # Kullback and Leibler's divergences, of each from the other.
    return float(stats.entropy(p, q) + stats.entropy(q, p))


def chance_limit(reference: int, live: int, bins: int = BINS) -> float:
    """The index that `live` scores from the same source pass with probability FALSE_ALARMS."""
    return float(stats.chi2.isf(FALSE_ALARMS, bins - 1)) * (1 / reference + 1 / live)


def compare(categories: Sequence[str], reference: Floats, live: Floats) -> tuple[Drift, ...]:
    """[C] the drift of `live` scores ([m, C]) from the calibration's ([n, C]), by category."""
    limit = max(STABLE, chance_limit(len(reference), len(live)))
    return tuple(
        Drift(category, stability_index(before, now), limit)
        for category, before, now in zip(categories, reference.T, live.T, strict=True)
    )


class DriftWindow:
    """The scores of the last live prompts. Not locked: one event loop or thread adds to it."""

    def __init__(self, categories: Sequence[str], reference: Floats, window: int = WINDOW) -> None:
        """reference: [n, C], n at least 1; scores of prompts as they are expected, all labels."""
        self._categories = tuple(categories)
        self._reference = _finite(reference)
        self._ring = np.empty((window, len(self._categories)), dtype=np.float32)
        self._added = 0

    def __len__(self) -> int:
        """How many prompts it holds."""
        return min(self._added, len(self._ring))

    def add(self, scores: npt.ArrayLike) -> None:
        """Take in one prompt's scores, [C]; the oldest prompt's go when the window is full."""
        self._ring[self._added % len(self._ring)] = _finite(np.asarray(scores, dtype=np.float32))
        self._added += 1

    def look(self) -> tuple[Drift, ...] | None:
        """[C] the drift of the prompts in the window; None while there are fewer than FEWEST."""
        if len(self) < min(FEWEST, len(self._ring)):
            return None
        return compare(self._categories, self._reference, self._ring[: len(self)])


def _smoothed(scores: npt.NDArray[np.float32], edges: Floats) -> npt.NDArray[np.float64]:
    """[bins] share of the scores in each bin, none of them 0."""
    counts = np.bincount(np.searchsorted(edges, scores, side="left"), minlength=len(edges) + 1)
    raised = counts + EMPTY
    shares: npt.NDArray[np.float64] = raised / raised.sum()
    return shares


def _finite(scores: Floats) -> Floats:
    """NaN counts as the largest score, as the gate has it."""
    largest = float(np.finfo(np.float32).max)
    return np.nan_to_num(scores, nan=largest, posinf=largest, neginf=-largest)
