"""What `/metrics` says about the gate, beside vLLM's own figures.

With several API servers each counts for itself, and vLLM adds them up; of gauges, the largest or
the newest is shown.
"""

from collections.abc import Mapping, Sequence

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from server.fields import BOUNDED, IGNORED, PASSED, REFUSED
from server.turn import Choice
from steering.drift import Drift
from steering.manifest import Scope

SCORE_BUCKETS = (-16.0, -12.0, -8.0, -6.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0)
"""Log-odds; 0 is p = 0.5."""
OTHER = "other"
"""Reason for a rejection that is not about a field: label values stay few, whatever is sent."""
_REASONS = frozenset({*PASSED, *BOUNDED, *REFUSED, *IGNORED})


class Metrics:
    """The counters of one process; made once for each registry."""

    def __init__(self, categories: Sequence[str], registry: CollectorRegistry = REGISTRY) -> None:
        self._categories = tuple(categories)
        self._decisions = Counter(
            "demur_decisions",
            "Choices decided: refused under a category, or answered (no category).",
            ["category", "scope", "outcome"],
            registry=registry,
        )
        self._rejected = Counter(
            "demur_rejected_requests",
            "Requests turned down before the engine, by the field that was at fault.",
            ["reason"],
            registry=registry,
        )
        self._scores = Histogram(
            "demur_score",
            "Score (log-odds) of each category for the prompts that were looked at.",
            ["category"],
            buckets=SCORE_BUCKETS,
            registry=registry,
        )
        self._failures = Counter(
            "demur_score_failures",
            "Prompts that were to be looked at, and could not be.",
            registry=registry,
        )
        self._requested = Gauge(
            "demur_requested_rate",
            "Mean rate that the settings come to on the calibration, over the category's prompts.",
            ["category"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._realised = Gauge(
            "demur_realised_rate",
            "Share of the category's prompts that was refused.",
            ["category"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._drift = Gauge(
            "demur_drift_index",
            "Population stability index of the scores against the calibration's.",
            ["category"],
            registry=registry,
            multiprocess_mode="max",
        )
        self._limit = Gauge(
            "demur_drift_limit",
            "Index above which the scores have changed.",
            ["category"],
            registry=registry,
            multiprocess_mode="max",
        )
        self._over_refusal = Gauge(
            "demur_over_refusal",
            "Mean share of harmless prompts that the settings asked for refuse.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )

    def decided(self, choices: Mapping[int, Choice], scope: Scope) -> None:
        """Count what became of each choice of a request."""
        for choice in choices.values():
            name = "" if choice.category is None else self._categories[choice.category]
            self._decisions.labels(name, scope, "refused" if name else "answered").inc()

    def rejected(self, field: str | None) -> None:
        """Count a request that was not admitted, or whose settings were not allowed."""
        self._rejected.labels(field if field in _REASONS else OTHER).inc()

    def looked_at(self, log_odds: Sequence[float]) -> None:
        """Count a prompt's scores, [C]."""
        for name, score in zip(self._categories, log_odds, strict=True):
            self._scores.labels(name).observe(score)

    def failed(self) -> None:
        """Count a prompt that could not be looked at."""
        self._failures.inc()

    def rates(self, requested: Mapping[str, float], realised: Mapping[str, float]) -> None:
        """Set what was asked for and what came of it, by category."""
        for name, rate in requested.items():
            self._requested.labels(name).set(rate)
        for name, rate in realised.items():
            self._realised.labels(name).set(rate)

    def over_refusal(self, share: float) -> None:
        """Set the share of harmless prompts that the settings refuse on the calibration."""
        self._over_refusal.set(share)

    def drift(self, drifts: Sequence[Drift]) -> None:
        """Set how far the scores are from the calibration's."""
        for each in drifts:
            self._drift.labels(each.category).set(each.index)
            self._limit.labels(each.category).set(each.limit)
