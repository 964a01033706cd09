import pytest
from prometheus_client import CollectorRegistry, generate_latest

from server.metrics import OTHER, Metrics
from server.turn import Choice
from steering.drift import Drift


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(("safety", "temporal"), registry)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def test_every_choice_of_a_request_is_counted(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.decided({0: Choice(category=1), 1: Choice(), 2: Choice()}, "first_token")
    count = "demur_decisions_total"
    refused = {"category": "temporal", "scope": "first_token", "outcome": "refused"}
    answered = {"category": "", "scope": "first_token", "outcome": "answered"}
    assert value(registry, count, **refused) == 1
    assert value(registry, count, **answered) == 2


@pytest.mark.parametrize(
    ("field", "reason"),
    [("refusal_rates", "refusal_rates"), ("echo", "echo"), ("made_up", OTHER), (None, OTHER)],
)
def test_rejections_have_few_reasons(
    metrics: Metrics, registry: CollectorRegistry, field: str | None, reason: str
) -> None:
    metrics.rejected(field)
    assert value(registry, "demur_rejected_requests_total", reason=reason) == 1


def test_scores_are_a_histogram(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.looked_at([0.5, -20.0])
    assert value(registry, "demur_score_bucket", category="safety", le="0.0") == 0
    assert value(registry, "demur_score_bucket", category="safety", le="1.0") == 1
    assert value(registry, "demur_score_bucket", category="temporal", le="-16.0") == 1


def test_rates_and_drift_are_gauges(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.rates({"safety": 0.9}, {"safety": 0.8})
    metrics.over_refusal(0.01)
    metrics.drift([Drift("temporal", 0.3, 0.1)])
    assert value(registry, "demur_requested_rate", category="safety") == 0.9
    assert value(registry, "demur_realised_rate", category="safety") == 0.8
    assert value(registry, "demur_over_refusal") == 0.01
    assert value(registry, "demur_drift_index", category="temporal") == 0.3
    assert value(registry, "demur_drift_limit", category="temporal") == 0.1
    assert b"demur_drift_index" in generate_latest(registry)
