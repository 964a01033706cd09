"""compose.yaml: pinned, hardened, bounded, and complete for both profiles."""

import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = ["server-cpu", "server-gpu"]
WATCHERS = ["prometheus", "grafana"]


def default(text: str) -> str:
    """`text` with compose's ${NAME:-default} filled in as with an empty environment."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def mounts(service: dict[str, Any]) -> dict[str, list[str]]:
    """Target: [source, options...]."""
    parts = [default(volume).split(":") for volume in service["volumes"]]
    return {target: [source, *options] for source, target, *options in parts}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "ipc", "user"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_or_built_here(name: str) -> None:
    image = default(SERVICES[name]["image"])
    if "build" in SERVICES[name]:
        assert (ROOT / SERVICES[name]["build"]["dockerfile"]).is_file()
        assert image.startswith("demur:")
    else:
        assert re.search(r":v?\d+\.\d+\.\d+$", image)


@pytest.mark.parametrize("name", [*SERVERS, *WATCHERS])
def test_what_serves_comes_back_and_listens_on_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] in ("always", "unless-stopped")
    assert service["ports"]
    for port in service["ports"]:
        assert default(port).startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SERVERS)
def test_the_server_reads_checkpoint_policy_and_keys_and_writes_none(name: str) -> None:
    service = SERVICES[name]
    command = default(service["command"])
    found = mounts(service)
    assert command.split()[0].startswith("/checkpoints/")
    assert found["/checkpoints"] == ["checkpoints", "ro"]
    assert "--refusal-policy /etc/demur/policy.yaml" in command
    assert found["/etc/demur"] == ["./policy", "ro"]
    assert service["secrets"] == ["api_keys"]
    assert service["restart"] == "always"


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_a_profile_trains_serves_and_watches(kind: str) -> None:
    started = {name for name, service in SERVICES.items() if kind in service["profiles"]}
    assert started == {f"train-{kind}", f"server-{kind}", *WATCHERS}
    (needed,) = SERVICES[f"server-{kind}"]["depends_on"].items()
    assert needed == (f"train-{kind}", {"condition": "service_completed_successfully"})
    trainer = SERVICES[f"train-{kind}"]
    recipe, folder = default(trainer["command"]).split()
    assert folder == default(SERVICES[f"server-{kind}"]["command"]).split()[0]
    assert (recipe, trainer["restart"]) == ("smollm2", "no")
    assert mounts(trainer)["/checkpoints"] == ["checkpoints"]


def test_only_the_gpu_profile_asks_for_gpus() -> None:
    asking = {name for name, service in SERVICES.items() if "nvidia" in str(service.get("deploy"))}
    assert asking == {"train-gpu", "server-gpu"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_file_that_is_mounted_and_every_secret_is_declared(name: str) -> None:
    for source, *options in mounts(SERVICES[name]).values():
        if source.startswith("./"):
            assert (DOCKER / source).is_dir()
            assert options == ["ro"]
        else:
            assert source in COMPOSE["volumes"]
    assert set(SERVICES[name].get("secrets", ())) <= COMPOSE["secrets"].keys()


def test_secrets_are_made_once_and_are_their_owner_s(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    for _ in range(2):
        before = {path.name: path.read_text() for path in folder.glob("*")}
        subprocess.run([ROOT / "scripts/secrets.sh", folder], check=True)
        secrets = {path.name: path.read_text() for path in folder.glob("*")}
        assert not before or secrets == before
    files = [default(secret["file"]) for secret in COMPOSE["secrets"].values()]
    assert {Path(file).name for file in files} == secrets.keys()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    keys = secrets["api_keys"].split()
    assert len(set(keys)) == 2
    assert secrets["metrics_key"].strip() in keys
    assert all(re.fullmatch("[0-9a-f]{48}", key) for key in "".join(secrets.values()).split())
    assert "docker/secrets/\n" in (ROOT / ".gitignore").read_text()


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """The command, looked up as scripts/docker-check.sh does."""
    plugin = ["docker", "compose"]
    if shutil.which("docker"):
        found = subprocess.run([*plugin, "version"], capture_output=True, check=False)
        if found.returncode == 0:
            return plugin
    if shutil.which("docker-compose") is None:
        pytest.skip("neither docker compose nor docker-compose is installed")
    return ["docker-compose"]


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_compose_accepts_the_file(compose: list[str], kind: str) -> None:
    file = DOCKER / "compose.yaml"
    run = subprocess.run(
        [*compose, "--file", file, "--profile", kind, "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
