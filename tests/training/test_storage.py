"""A full disk, played by a limit on the size of files: what is written fails in the same places."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError
from transformers import TrainerCallback

from steering.calibration import CalibrationScores
from steering.manifest import MANIFEST_FILE, SCORES_FILE, Manifest
from training import calibrate
from training.calibration_files import STAGE
from training.config import Recipe
from training.run import train
from training.storage import StorageError, storing
from training.work_folder import is_finished

COMMAND = """
import resource, runpy, sys
from training import cli, recipes
recipes.RECIPES["toy"] = runpy.run_path(sys.argv[1])["tiny"]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
sys.exit(cli.main(["run", "toy", "--output", sys.argv[2]]))
"""
MODEL_FITS = 300_000
"""Bytes: more than the tiny model's weights, less than its optimizer's state."""
NOTHING_FITS = 100


@contextmanager
def full_disk(fits: int) -> Iterator[None]:
    """No file of this process grows past `fits` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (fits, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class FillDisk(TrainerCallback):
    """Fills the disk behind a step."""

    def __init__(self, step: int, fits: int) -> None:
        self._step = step
        self._limit = (fits, resource.getrlimit(resource.RLIMIT_FSIZE)[1])

    def on_step_end(self, *event: Any, **_: Any) -> None:
        if event[1].global_step == self._step:
            resource.setrlimit(resource.RLIMIT_FSIZE, self._limit)


def quick(recipe: Recipe) -> Recipe:
    changes = {"epochs": 0.25, "save_every": 2}
    return recipe.model_copy(update={"sft": recipe.sft.model_copy(update=changes)})


@pytest.mark.parametrize(
    ("step", "fits", "lasting"),
    [
        (3, MODEL_FITS, 2),  # while the optimizer's state of step 4 is saved
        (3, NOTHING_FITS, 2),  # while its weights are
        (6, MODEL_FITS // 2, 4),  # while the last save is
    ],
)
def test_a_run_whose_disk_fills_up_goes_on_when_there_is_room(
    recipe: Recipe,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    step: int,
    fits: int,
    lasting: int,
) -> None:
    caplog.set_level("INFO", logger="training")
    output = tmp_path / "out"
    with (
        pytest.raises(StorageError, match=r"out\.part could not be written .* MiB are free there"),
        full_disk(sys.maxsize),
    ):
        train(quick(recipe), output, callbacks=[FillDisk(step, fits)])
    assert not output.exists()
    train(quick(recipe), output)
    assert f"Going on from step {lasting}." in caplog.messages
    assert is_finished(output)
    assert not output.with_name("out.part").exists()


def test_the_command_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    recipes = Path(__file__).with_name("conftest.py")
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(recipes), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "demur-train: error: files in " in done.stderr
    assert "File too large" in done.stderr
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def calibrated(finished: Path, tmp_path: Path) -> Path:
    checkpoint = Path(shutil.copytree(finished, tmp_path / "checkpoint"))
    assert calibrate.main([str(checkpoint), prompts(checkpoint)]) == 0
    return checkpoint


def prompts(checkpoint: Path) -> str:
    return str(checkpoint / "prompts" / "calibration.jsonl")


def contents(checkpoint: Path) -> dict[str, bytes]:
    return {name: (checkpoint / name).read_bytes() for name in (MANIFEST_FILE, SCORES_FILE)}


@pytest.mark.parametrize("what", [MANIFEST_FILE, SCORES_FILE])
def test_a_calibration_that_does_not_fit_leaves_the_old_one_alone(
    calibrated: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    before = contents(calibrated)
    arguments = [str(calibrated), prompts(calibrated), "--force", "--dtype", "bfloat16"]
    with full_disk((calibrated / what).stat().st_size - 1):
        assert calibrate.main(arguments) == 1
    said = capsys.readouterr().err
    assert "demur-calibrate: error: files in " in said
    assert "The checkpoint is as it was" in said
    assert contents(calibrated) == before
    assert calibrate.main(arguments) == 0
    assert contents(calibrated) != before
    assert not (calibrated / STAGE).exists()


def test_a_damaged_calibration_is_replaced(calibrated: Path) -> None:
    (calibrated / SCORES_FILE).write_bytes(b"nothing")
    assert calibrate.main([str(calibrated), prompts(calibrated), "--force"]) == 0
    CalibrationScores.load(calibrated, Manifest.load(calibrated).names)


def test_a_checkpoint_that_was_cut_off_is_not_calibrated(
    calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = calibrated / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert calibrate.main([str(calibrated), prompts(calibrated), "--force"]) == 1
    assert "model.safetensors is damaged or missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("I/O error"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 1 vs 2"),
    ],
)
def test_what_a_full_disk_raises_is_named(tmp_path: Path, error: Exception) -> None:
    folder = tmp_path / "not" / "there"
    said = r"not/there could .* MiB are free there\)\. Make room\."
    with pytest.raises(StorageError, match=said), storing(folder, "Make room."):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), NotImplementedError("no")])
def test_other_errors_keep_their_name(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), storing(tmp_path, ""):
        raise error
