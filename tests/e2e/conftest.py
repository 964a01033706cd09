"""One checkpoint and one server for every test here."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

from steering.manifest import Manifest
from tests.e2e import calls, faults, scripted
from tests.e2e.server import Server, client_of, sdk_of, serving
from training.datasets.load import load_records
from training.records import Record

CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "tiny"
MODEL = "tiny"
SCRIPTED_FLAGS = (
    *("--served-model-name", calls.MODEL, "--enable-auto-tool-choice"),
    # Long prompts come in chunks.
    *("--tool-call-parser", "hermes", "--max-num-batched-tokens", "64"),
)
REQUESTS = "requests.jsonl"
"""Where a server of `pair` logs its requests, beside its own log."""


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    if not (CHECKPOINT / "calibration").is_dir():
        pytest.fail(f"{CHECKPOINT} is not there or not calibrated: run `make tiny`")
    return CHECKPOINT


@pytest.fixture(scope="session")
def manifest(checkpoint: Path) -> Manifest:
    return Manifest.load(checkpoint)


@pytest.fixture(scope="session")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    flags = ["--served-model-name", MODEL]
    with serving(checkpoint, folder, flags) as running:
        yield running


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    with client_of(server) as client:
        yield client


@pytest.fixture(scope="session")
def sdk(server: Server) -> Iterator[OpenAI]:
    with sdk_of(server) as client:
        yield client


@pytest.fixture(scope="session")
def scripted_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripted")
    scripted.build(folder)
    return folder


@pytest.fixture(scope="session")
def scripted_server(
    scripted_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    # What this mode adds must stay closed, too.
    environment = {"VLLM_SERVER_DEV_MODE": "1"}
    folder = tmp_path_factory.mktemp("server")
    with serving(scripted_checkpoint, folder, SCRIPTED_FLAGS, environment) as running:
        yield running


@pytest.fixture(scope="session")
def frozen_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("frozen")
    scripted.build(folder / "checkpoint", manifest=scripted.FROZEN)
    with serving(folder / "checkpoint", folder, SCRIPTED_FLAGS) as running:
        yield running


@pytest.fixture(scope="session")
def frozen_http(frozen_server: Server) -> Iterator[httpx.Client]:
    with client_of(frozen_server) as client:
        yield client


@pytest.fixture(scope="session")
def scripted_http(scripted_server: Server) -> Iterator[httpx.Client]:
    with client_of(scripted_server) as client:
        yield client


@pytest.fixture(scope="session")
def scripted_sdk(scripted_server: Server) -> Iterator[OpenAI]:
    with sdk_of(scripted_server) as client:
        yield client


@pytest.fixture(scope="session")
def unseen(checkpoint: Path, manifest: Manifest) -> list[Record]:
    """Prompts that neither training nor calibration saw."""
    path = checkpoint / "prompts" / "test.jsonl"
    return load_records([str(path)], categories=manifest.names)


@pytest.fixture(scope="session")
def pair(
    scripted_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server]]:
    """Two servers that share one checkpoint folder; `test_faults.py` ends both."""
    flags = ["--served-model-name", calls.MODEL, "--api-key", "another-key", faults.KEY]
    flags += ["--max-body-mib", "1", "--body-timeout", "2", "--shutdown-timeout", "120"]
    folders = [tmp_path_factory.mktemp("server") for _ in range(2)]
    servers = [
        Server(
            scripted_checkpoint,
            folder / "log",
            [*flags, "--request-log", str(folder / REQUESTS)],
        )
        for folder in folders
    ]
    try:
        for server in servers:
            server.wait_until_ready()
        yield servers[0], servers[1]
    finally:
        for server in servers:
            server.stop(signal.SIGKILL)
