"""docs/deployment.md says what the files say."""

import re
from pathlib import Path

import yaml

from server.launch import parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/deployment.md").read_text()
COMPOSE = (ROOT / "docker/compose.yaml").read_text()


def test_every_setting_of_compose_is_explained_with_its_default() -> None:
    settings = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE))
    for name, default in settings.items():
        assert f"`{name}`" in PAGE, name
        if default and "FLAGS" not in name:
            assert f"`{default.replace('./', 'docker/')}`" in PAGE or default in PAGE, name
    explained = set(re.findall(r"`(DEMUR_\w+)`", PAGE))
    assert explained <= settings.keys()


def test_every_service_build_argument_and_alert_is_in_its_table() -> None:
    for service in yaml.safe_load(COMPOSE)["services"]:
        assert f"`{service}`" in PAGE
    for name in ("Dockerfile.cpu", "Dockerfile.gpu"):
        (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `docker/{name}`"))
        found = re.findall(r"^ARG (\w+)", (ROOT / "docker" / name).read_text(), re.MULTILINE)
        assert set(found) == set(re.findall(r"`([A-Z_]+)`", row))
    rules = yaml.safe_load((ROOT / "docker/prometheus/alerts.yaml").read_text())
    names = [rule["alert"] for rule in rules["groups"][0]["rules"]]
    assert re.findall(r"^\| `(Demur\w+)`", PAGE, re.MULTILINE) == names


def test_every_flag_that_it_names_is_one_of_the_server_s() -> None:
    (table,) = re.findall(r"## vLLM's flags that matter\n(.*?)\n## ", PAGE, re.DOTALL)
    for flag in sorted(set(re.findall(r"`--([a-z-]+)`", table))):
        value = {"dtype": "auto", "quantization": "fp8", "kv-cache-dtype": "fp8"}.get(flag, "1")
        given = [f"--{flag}"] if flag == "enforce-eager" else [f"--{flag}={value}"]
        assert hasattr(parse(["checkpoint", *given]), flag.replace("-", "_"))
