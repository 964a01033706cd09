from pathlib import Path

import pytest

from steering.fingerprint import FingerprintError, fingerprint, verify
from steering.manifest import Calibration, Category, Manifest


def manifest(weights: str | None) -> Manifest:
    return Manifest(
        respond_token=None,
        categories=(Category(name="safety", token="<|refuse:safety|>"),),
        calibration=Calibration(
            engine="transformers", dtype="float32", prompts={"safety": 1}, weights=weights
        ),
    )


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "model-1.safetensors").write_bytes(b"one")
    (tmp_path / "model-2.safetensors").write_bytes(b"two")
    return tmp_path


def test_every_file_of_weights_counts(checkpoint: Path) -> None:
    before = fingerprint(checkpoint)
    assert len(before) == 64
    (checkpoint / "model-2.safetensors").write_bytes(b"twp")
    changed = fingerprint(checkpoint)
    assert changed != before
    (checkpoint / "model-3.safetensors").write_bytes(b"")
    assert fingerprint(checkpoint) not in (before, changed)


def test_contents_that_change_places_are_other_weights(checkpoint: Path) -> None:
    before = fingerprint(checkpoint)
    (checkpoint / "model-1.safetensors").write_bytes(b"two")
    (checkpoint / "model-2.safetensors").write_bytes(b"one")
    assert fingerprint(checkpoint) != before


def test_other_files_do_not_count(checkpoint: Path) -> None:
    before = fingerprint(checkpoint)
    (checkpoint / "refusal.json").write_text("{}")
    (checkpoint / "calibration").mkdir()
    (checkpoint / "calibration" / "first_token.safetensors").write_bytes(b"scores")
    assert fingerprint(checkpoint) == before


def test_without_weights_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FingerprintError, match="holds no weights"):
        fingerprint(tmp_path)


class TestVerify:
    def test_calibrated_weights_pass(self, checkpoint: Path) -> None:
        verify(checkpoint, manifest(fingerprint(checkpoint)))

    def test_changed_weights_are_refused_with_the_remedy(self, checkpoint: Path) -> None:
        calibrated = manifest(fingerprint(checkpoint))
        (checkpoint / "model-1.safetensors").write_bytes(b"0ne")
        with pytest.raises(
            FingerprintError, match=r"changed after .* Run demur-calibrate .* --force"
        ):
            verify(checkpoint, calibrated)

    def test_without_a_fingerprint_nothing_is_known(self, tmp_path: Path) -> None:
        verify(tmp_path, manifest(None))
        verify(tmp_path, manifest(None).model_copy(update={"calibration": None}))
