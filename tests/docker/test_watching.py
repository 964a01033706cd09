"""Prometheus' configuration, the alert rules and Grafana's dashboard, without either of them."""

import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from vllm.v1.metrics import loggers

from server.metrics import Metrics
from server.turn import Choice
from steering.drift import Drift
from tests.docker.dashboard import DOCKER, expressions, fill, load, metrics

BOARD = load()
PANELS: list[dict[str, Any]] = BOARD["panels"]
ALERTS = yaml.safe_load((DOCKER / "prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())


def exported() -> dict[str, set[str]]:
    """Demur's own metrics, each with its labels, once everything has happened."""
    registry = CollectorRegistry()
    ours = Metrics(("safety",), registry)
    ours.decided({0: Choice(category=0), 1: Choice()}, "first_token")
    ours.rejected("refusal_rates")
    ours.looked_at([0.5])
    ours.failed()
    ours.rates({"safety": 0.5}, {"safety": 0.5})
    ours.over_refusal(0.1)
    ours.drift([Drift("safety", 0.1, 0.25)])
    samples = [sample for family in registry.collect() for sample in family.samples]
    derived = ("_created", "_count", "_sum")  # of counters and histograms
    return {s.name: set(s.labels) for s in samples if not s.name.endswith(derived)}


OURS = exported()
EXPRESSIONS = [*expressions(BOARD), *((rule["alert"], rule["expr"]) for rule in ALERTS)]


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    return found


def check(*command: str | Path) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_expression_parses(promtool: str, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": text}
        for number, (_, text) in enumerate(expressions(BOARD))
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    check(promtool, "check", "rules", file)


def test_the_configuration_and_the_rules_are_valid(promtool: str) -> None:
    folder = DOCKER / "prometheus"
    check(promtool, "check", "config", "--syntax-only", folder / "prometheus.yaml")
    check(promtool, "check", "rules", folder / "alerts.yaml")


def test_alerts_fire_when_they_should(promtool: str) -> None:
    check(promtool, "test", "rules", Path(__file__).parent / "alerts_test.yaml")


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    tested = (Path(__file__).parent / "alerts_test.yaml").read_text()
    for rule in ALERTS:
        assert f"alertname: {rule['alert']}\n" in tested
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "action"}


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_every_metric_is_demur_s_vllm_s_or_http_s(title: str, expression: str) -> None:
    names = metrics(expression)
    assert len(names) >= 1, f"{title}: no metric of the job demur"
    declared = Path(loggers.__file__).read_text()
    for name in names - OURS.keys() - {"up", "http_requests_total"}:
        base = re.sub(r"_(total|bucket)$", "", name)
        assert f'"{base}"' in declared, f"vLLM has no {name}"


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_demur_s_metrics_are_used_with_their_labels(title: str, expression: str) -> None:
    selectors = re.findall(r"(demur_\w+)\{([^}]*)\}", expression)
    for name, matchers in selectors:
        used = set(re.findall(r"(\w+)\s*=~?", matchers)) - {"job", "instance"}
        assert used <= OURS[name], title
    for by in re.findall(r"by \(([^)]*)\)", expression):
        for name, _ in selectors:
            assert set(by.split(", ")) - {"instance"} <= OURS[name], title


def test_everything_that_demur_measures_is_on_the_dashboard() -> None:
    shown = {name for _, text in expressions(BOARD) for name in metrics(text)}
    assert shown >= OURS.keys()


def test_the_dashboard_is_complete_and_nothing_overlaps() -> None:
    assert (BOARD["uid"], BOARD["title"]) == ("demur", "Demur")
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
            assert panel["fieldConfig"]["defaults"]["unit"]
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart or above


def test_every_variable_is_defined_and_used() -> None:
    names = {f"${variable['name']}" for variable in BOARD["templating"]["list"]}
    text = str(PANELS)
    used = set(re.findall(r"\$[a-z]\w*", text)) | {
        f"${name}" for name in re.findall(r"\$\{(\w+)\}", text)
    }
    assert used == names
    assert "$" not in "".join(fill(text) for _, text in expressions(BOARD))


def test_grafana_finds_its_data_source_and_its_dashboard() -> None:
    provisioning = DOCKER / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    (provider,) = yaml.safe_load((provisioning / "dashboards/demur.yaml").read_text())["providers"]
    prometheus = yaml.safe_load((DOCKER / "prometheus/prometheus.yaml").read_text())
    chosen = BOARD["templating"]["list"][0]["current"]["value"]
    assert (source["uid"], source["url"]) == (chosen, "http://prometheus:9090")
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    volumes = COMPOSE["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in volumes
    assert f"./grafana/provisioning:/etc/grafana/{provisioning.name}:ro" in volumes


def test_prometheus_asks_the_server_with_its_own_key() -> None:
    prometheus = yaml.safe_load((DOCKER / "prometheus/prometheus.yaml").read_text())
    (job,) = prometheus["scrape_configs"]
    assert job["job_name"] == "demur"
    assert job["static_configs"] == [{"targets": ["server:8000"]}]
    assert job["authorization"] == {"credentials_file": "/run/secrets/metrics_key"}
    for name in ("server-cpu", "server-gpu"):
        assert COMPOSE["services"][name]["networks"] == {"default": {"aliases": ["server"]}}
    assert prometheus["rule_files"] == ["alerts.yaml"]
