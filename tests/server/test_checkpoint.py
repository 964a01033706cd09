from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from server.checkpoint import Checkpoint
from steering.calibration import CalibrationError
from steering.fingerprint import FingerprintError
from steering.intact import DamagedError
from steering.manifest import SCORES_FILE, Manifest, ManifestError
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


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_files_that_were_cut_off_are_not_served(tmp_path: Path, name: str) -> None:
    scripted.build(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedError, match=f"{name} is damaged or missing .*: copy the checkpoint"):
        Checkpoint.load(tmp_path)


def labels(values: list[int], dtype: str = "int64") -> np.ndarray:
    return np.array(values, dtype=dtype)


SCORES = np.zeros((2, 2), dtype=np.float32)
NAMES = "\n".join(MANIFEST.names)


@pytest.mark.parametrize(
    ("tensors", "categories"),
    [
        ({"labels": labels([0, 1])}, NAMES),
        ({"scores": SCORES}, NAMES),
        ({"labels": labels([0, 1]), "scores": SCORES}, "others"),
        ({"labels": labels([0, 1, 1]), "scores": SCORES}, NAMES),
        ({"labels": labels([0, 2]), "scores": SCORES}, NAMES),
        ({"labels": labels([0, 1]), "scores": SCORES * np.nan}, NAMES),
        ({"labels": labels([0, 1]), "scores": SCORES[:, :1].copy()}, NAMES),
        ({"labels": labels([0, 1], "float32"), "scores": SCORES}, NAMES),
        ({"labels": labels([0, 1]), "scores": SCORES.astype("int64")}, NAMES),
    ],
)
def test_scores_that_are_not_a_calibrations_are_not_served(
    tmp_path: Path, tensors: dict[str, np.ndarray], categories: str
) -> None:
    scripted.build(tmp_path)
    save_file(tensors, tmp_path / SCORES_FILE, metadata={"categories": categories})
    with pytest.raises(CalibrationError, match=r"cannot be used .* Run demur-calibrate again"):
        Checkpoint.load(tmp_path)
