from pathlib import Path

import pytest

from server.checkpoint import Checkpoint
from steering.fingerprint import FingerprintError
from steering.manifest import Manifest, ManifestError
from tests.e2e import scripted
from tests.server.conftest import MANIFEST


def test_a_checkpoint_without_trained_control_tokens_is_not_served(tmp_path: Path) -> None:
    MANIFEST.model_copy(update={"scopes": ()}).save(tmp_path)
    with pytest.raises(ManifestError, match=r"refusal\.json names no scope.*nothing steers"):
        Checkpoint.load(tmp_path)


def test_weights_that_changed_after_calibration_are_not_served(tmp_path: Path) -> None:
    scripted.build(tmp_path)
    manifest = Manifest.load(tmp_path)
    assert manifest.calibration is not None
    calibration = manifest.calibration.model_copy(update={"weights": "0" * 64})
    manifest.model_copy(update={"calibration": calibration}).save(tmp_path)
    with pytest.raises(FingerprintError, match=r"changed after it was calibrated.*--force"):
        Checkpoint.load(tmp_path)
