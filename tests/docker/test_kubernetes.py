"""kubernetes.yaml: as hardened as compose.yaml, serving the same way."""

import re
from pathlib import Path
from typing import Any

import yaml

from server.launch import parse

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
OBJECTS: dict[str, dict[str, Any]] = {
    each["kind"]: each for each in yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text())
}
POD: dict[str, Any] = OBJECTS["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
SERVER = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["server-gpu"]


def test_the_server_is_not_root_and_writes_only_where_it_must() -> None:
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert POD["spec"]["securityContext"]["runAsUser"] == 10001
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {
        mount["mountPath"] for mount in CONTAINER["volumeMounts"] if not mount.get("readOnly")
    }
    assert writable == {"/home/demur/.cache", "/tmp", "/dev/shm"}


def test_it_serves_with_compose_s_flags_and_keys() -> None:
    args = parse(CONTAINER["args"])
    assert args.model == "/checkpoints/demo"
    assert str(args.refusal_policy) == "/etc/demur/policy.yaml"
    flags = [flag.partition("=")[0] for flag in CONTAINER["args"] if flag[:2] == "--"]
    assert [word for word in SERVER["command"].split() if word[:2] == "--"] == flags
    mounted = {mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert {"/checkpoints", "/etc/demur", "/run/secrets"} <= mounted
    assert OBJECTS["ConfigMap"]["data"].keys() == {"policy.yaml"}


def test_every_probe_asks_health_and_running_requests_have_time_to_end() -> None:
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert CONTAINER[probe]["httpGet"] == {"path": "/health", "port": "http"}
    drain = parse(CONTAINER["args"]).shutdown_timeout
    wait = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert 0 < drain + wait < POD["spec"]["terminationGracePeriodSeconds"]
    assert OBJECTS["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_names_fit_together() -> None:
    labels = POD["metadata"]["labels"]
    for selector in (
        OBJECTS["Deployment"]["spec"]["selector"]["matchLabels"],
        OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        OBJECTS["Service"]["spec"]["selector"],
    ):
        assert selector == labels
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == volumes.keys()
    assert volumes["policy"]["configMap"] == OBJECTS["ConfigMap"]["metadata"]
    claim = volumes["checkpoints"]["persistentVolumeClaim"]["claimName"]
    assert claim == OBJECTS["PersistentVolumeClaim"]["metadata"]["name"]


def test_the_page_s_monitor_asks_the_pods_with_a_key_under_the_alerts_job() -> None:
    page = (ROOT / "docs/deployment.md").read_text()
    (block,) = re.findall(r"^  ```yaml\n(.*?)^  ```", page, re.DOTALL | re.MULTILINE)
    monitor = yaml.safe_load(block)["spec"]
    labels = POD["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"] == labels
    assert labels[monitor["jobLabel"]] == "demur"
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in CONTAINER["ports"]}
    secret = endpoint["authorization"]["credentials"]
    assert f"generic {secret['name']} --from-file={secret['key']}=" in page
    assert "annotations" not in POD["metadata"], "whoever reads these has no key"
