"""The dashboard's expressions, and which of their metrics a running Prometheus has:

python3 -m tests.docker.dashboard http://127.0.0.1:9090
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

DOCKER = Path(__file__).parents[2] / "docker"
DASHBOARD = DOCKER / "grafana/dashboards/demur.json"
VARIABLES = {"$__rate_interval": "1m", "$instance": ".*", "$category": ".*"}
"""Grafana's and the dashboard's variables, with a value for each."""


def load() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return board


def expressions(board: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each panel's title and each of its expressions, variables filled in."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], fill(target["expr"])


def fill(expression: str) -> str:
    """`expression` with a value for every variable."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def metrics(expression: str) -> set[str]:
    """The metrics that a PromQL expression selects: every one here has a `job` label."""
    return set(re.findall(r'([a-zA-Z_:][\w:]*)\{job="demur"', expression))


def main(url: str) -> int:
    """Print the number of series of each metric; 1 if a metric has none."""
    names = sorted({name for _, text in expressions(load()) for name in metrics(text)})
    missing = []
    for name in names:
        query = urlencode({"match[]": f'{name}{{job="demur"}}'})
        with urlopen(f"{url}/api/v1/series?{query}", timeout=10) as response:
            series = len(json.load(response)["data"])
        print(f"{series:6} series of {name}")
        if not series:
            missing.append(name)
    print(f"{len(names) - len(missing)} of {len(names)} metrics; missing: {missing or 'none'}")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
