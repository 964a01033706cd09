"""A server that cannot gate does not start, and says why. Two are started at a time."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from steering.manifest import MANIFEST_FILE, SCORES_FILE
from tests.e2e.server import Server

AT_ONCE = 2
SABOTAGE = """\
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise ImportError("broken on purpose")
sys.meta_path.insert(0, Broken())
"""
UNDO = """\
from steering.v1 import RefusalGate
RefusalGate.apply = lambda self, logits: logits
class Undo(RefusalGate): pass
"""


@dataclass(frozen=True)
class Start:
    """What is wrong with a start beside its checkpoint."""

    flags: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """One way to keep a server from gating."""

    prepare: Callable[[Path], Start]
    """Is given a folder with a copy of a checkpoint of its own in `checkpoint`."""
    said: tuple[str, ...]
    from_deep_inside: bool = False
    """Whether it is noticed so late that others' tracebacks are printed, too."""


def without_a_manifest(folder: Path) -> Start:
    (folder / "checkpoint" / MANIFEST_FILE).unlink()
    return Start()


def with_a_manifest_that_does_not_fit_the_tokenizer(folder: Path) -> Start:
    path = folder / "checkpoint" / MANIFEST_FILE
    manifest = json.loads(path.read_text())
    manifest["categories"][0]["token"] = "<|refuse:elsewhere|>"
    path.write_text(json.dumps(manifest))
    return Start()


def with_weights_that_are_cut_off(folder: Path) -> Start:
    weights = folder / "checkpoint" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return Start()


def with_scores_that_are_damaged(folder: Path) -> Start:
    (folder / "checkpoint" / SCORES_FILE).write_bytes(b"nothing")
    return Start()


def with_the_gate_twice(_: Path) -> Start:
    return Start(["--logits-processors", "steering.v1:RefusalGate"])


def with_speculation_that_skips_the_gate(_: Path) -> Start:
    draft = {"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 2}
    return Start(["--speculative-config", json.dumps(draft)])


def with_a_policy_file_that_is_wrong(folder: Path) -> Start:
    file = folder / "policy.yaml"
    file.write_text("categories:\n  safety: {floor: 1.5}\n")
    return Start(["--refusal-policy", str(file)])


def with_an_engine_that_ignores_the_gate(folder: Path) -> Start:
    """Another processor disables the gate; the probe finds out."""
    (folder / "undo.py").write_text(UNDO)
    return Start(["--logits-processors", "undo:Undo"], {"PYTHONPATH": str(folder)})


def with_routes_that_cannot_be_loaded(folder: Path) -> Start:
    """vLLM only logs that a plugin is broken; it would serve its own routes, past the handler."""
    return sabotaged(folder, "server.plugin")


def with_a_processor_that_cannot_be_loaded(folder: Path) -> Start:
    return sabotaged(folder, "steering.v1")


def sabotaged(folder: Path, module: str) -> Start:
    """`module` cannot be imported in any process of the server."""
    (folder / "sitecustomize.py").write_text(SABOTAGE.format(module=module))
    return Start(environment={"PYTHONPATH": str(folder)})


FAULTS = (
    Fault(with_an_engine_that_ignores_the_gate, ("the gate does not work in this engine",), True),
    Fault(
        with_routes_that_cannot_be_loaded,
        ("vLLM did not load the endpoint plugin 'demur'",),
        from_deep_inside=True,
    ),
    Fault(with_a_processor_that_cannot_be_loaded, ("broken on purpose",), from_deep_inside=True),
    Fault(without_a_manifest, (f"{MANIFEST_FILE} cannot be read",)),
    Fault(
        with_a_manifest_that_does_not_fit_the_tokenizer,
        ("refusal.json does not fit the checkpoint's tokenizer", "<|refuse:elsewhere|>"),
    ),
    Fault(with_weights_that_are_cut_off, ("model.safetensors is damaged or missing",)),
    Fault(with_scores_that_are_damaged, (f"{SCORES_FILE} cannot be used",)),
    Fault(with_the_gate_twice, ("steering.v1:RefusalGate would be loaded twice",)),
    Fault(with_speculation_that_skips_the_gate, ("no gate, with speculative decoding",)),
    Fault(with_a_policy_file_that_is_wrong, ("policy.yaml, line 2, categories.safety.floor: ",)),
)


@dataclass(frozen=True)
class End:
    """How a server ended."""

    status: int
    output: str
    leftovers: list[str]


@pytest.fixture(scope="module")
def ends(
    request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Fault, Future[End]]]:
    """Of each fault that is to be tested in this session."""
    wanted = {item.name for item in request.session.items if item.path == request.path}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            fault: pool.submit(ended, fault, checkpoint, tmp_path_factory.mktemp("start"))
            for fault in FAULTS
            if f"test_does_not_start[{fault.prepare.__name__}]" in wanted
        }


def ended(fault: Fault, checkpoint: Path, folder: Path) -> End:
    copy = Path(shutil.copytree(checkpoint, folder / "checkpoint"))
    start = fault.prepare(folder)
    server = Server(copy, folder / "log", start.flags, start.environment)
    try:
        status = server.wait_until_ended()
        return End(status, server.output(), server.leftovers())
    finally:
        server.stop(signal.SIGKILL)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.prepare.__name__)
def test_does_not_start(fault: Fault, ends: Mapping[Fault, Future[End]]) -> None:
    end = ends[fault].result()
    assert end.status != 0
    for text in fault.said:
        assert text in end.output
    assert fault.from_deep_inside or "Traceback" not in end.output
    assert end.leftovers == []
