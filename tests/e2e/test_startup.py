"""A server that cannot gate does not start, and says why."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from steering.manifest import MANIFEST_FILE, SCORES_FILE
from tests.e2e.server import Server


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))


def reason(checkpoint: Path, *flags: str) -> str:
    """What `demur-serve checkpoint` prints before it exits with a failure."""
    server = Server(checkpoint, log=checkpoint.parent / "log", flags=flags)
    try:
        assert server.wait_until_ended() != 0
        return server.output()
    finally:
        server.stop(signal.SIGKILL)


def test_without_a_manifest(copy: Path) -> None:
    (copy / MANIFEST_FILE).unlink()
    assert f"{MANIFEST_FILE} cannot be read" in reason(copy)


def test_with_a_manifest_that_does_not_fit_the_tokenizer(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST_FILE).read_text())
    manifest["categories"][0]["token"] = "<|refuse:elsewhere|>"
    (copy / MANIFEST_FILE).write_text(json.dumps(manifest))
    printed = reason(copy)
    assert "refusal.json does not fit the checkpoint's tokenizer" in printed
    assert "<|refuse:elsewhere|>" in printed
    assert "Traceback" not in printed


def test_with_weights_that_are_cut_off(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    printed = reason(copy)
    assert "model.safetensors is damaged or missing" in printed
    assert "Traceback" not in printed


def test_with_scores_that_are_damaged(copy: Path) -> None:
    (copy / SCORES_FILE).write_bytes(b"nothing")
    assert f"{SCORES_FILE} cannot be used" in reason(copy)


def test_with_an_engine_that_ignores_the_gate(checkpoint: Path, tmp_path: Path) -> None:
    """Another processor disables the gate; the probe finds out, and nothing is served."""
    (tmp_path / "undo.py").write_text(
        "from steering.v1 import RefusalGate\n"
        "RefusalGate.apply = lambda self, logits: logits\n"
        "class Undo(RefusalGate): pass\n"
    )
    server = Server(
        checkpoint,
        log=tmp_path / "log",
        flags=["--logits-processors", "undo:Undo"],
        environment={"PYTHONPATH": str(tmp_path)},
    )
    try:
        assert server.wait_until_ended() != 0
        assert "the gate does not work in this engine" in server.output()
        assert server.leftovers() == []
    finally:
        server.stop(signal.SIGKILL)


SABOTAGE = """\
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise ImportError("broken on purpose")
sys.meta_path.insert(0, Broken())
"""


def test_with_routes_that_cannot_be_loaded(checkpoint: Path, tmp_path: Path) -> None:
    """vLLM only logs that a plugin is broken; it would serve its own routes, past the handler."""
    printed = sabotaged(checkpoint, tmp_path, "server.plugin")
    assert "vLLM did not load the endpoint plugin 'demur'" in printed


def test_with_a_processor_that_cannot_be_loaded(checkpoint: Path, tmp_path: Path) -> None:
    assert "broken on purpose" in sabotaged(checkpoint, tmp_path, "steering.v1")


def sabotaged(checkpoint: Path, folder: Path, module: str) -> str:
    """What a server prints in whose processes `module` cannot be imported."""
    (folder / "sitecustomize.py").write_text(SABOTAGE.format(module=module))
    path = {"PYTHONPATH": str(folder)}
    server = Server(checkpoint, log=folder / "log", environment=path)
    try:
        assert server.wait_until_ended() != 0
        assert server.leftovers() == []
        return server.output()
    finally:
        server.stop(signal.SIGKILL)


def test_with_the_gate_twice(checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "checkpoint"
    copy.symlink_to(checkpoint)
    printed = reason(copy, "--logits-processors", "steering.v1:RefusalGate")
    assert "steering.v1:RefusalGate would be loaded twice" in printed


def test_with_speculation_that_skips_the_gate(checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "checkpoint"
    copy.symlink_to(checkpoint)
    draft = json.dumps({"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 2})
    printed = reason(copy, "--speculative-config", draft)
    assert "no gate, with speculative decoding" in printed
    assert "Traceback" not in printed


def test_with_a_policy_file_that_is_wrong(checkpoint: Path, tmp_path: Path) -> None:
    copy, file = tmp_path / "checkpoint", tmp_path / "policy.yaml"
    copy.symlink_to(checkpoint)
    file.write_text("categories:\n  safety: {floor: 1.5}\n")
    printed = reason(copy, "--refusal-policy", str(file))
    assert "policy.yaml, line 2, categories.safety.floor: " in printed
    assert "Traceback" not in printed
