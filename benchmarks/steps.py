"""The project's own commands, one after the other in this process; what is done is not done again.

A model that is there is not trained again, whatever its settings: for others name another folder.
"""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from steering.manifest import Manifest
from training.calibrate import main as demur_calibrate
from training.cli import main as demur_train
from training.evaluation.cli import main as demur_eval
from training.evaluation.report import JSON_FILE
from training.export import CALIBRATION_PROMPTS
from training.work_folder import is_finished


def command(name: str, main: Callable[[Sequence[str]], int], *arguments: object) -> None:
    """Run a command; ends the process with its exit code if it fails."""
    words = [str(argument) for argument in arguments]
    print(f"$ {name} {shlex.join(words)}", flush=True)
    if code := main(words):
        raise SystemExit(code)


def convert(sources: Sequence[str], data: Path) -> None:
    """Divide the sources' records into files in the folder `data`, refusals filled in."""
    if not (data / "test.jsonl").is_file():
        command(
            "demur-train", demur_train, "convert", *sources, "--fill-refusals", "--output", data
        )


def train(checkpoint: Path, data: Path, seed: int, settings: Sequence[str]) -> None:
    """Train a model from scratch on the files in `data`: recipe `tiny`, with settings."""
    if is_finished(checkpoint):
        return
    files = [
        f"data.{split}={data / split}.jsonl"
        for split in ("train", "calibration", "test")
        if (data / f"{split}.jsonl").is_file()
    ]
    sets = [word for setting in (*files, *settings) for word in ("--set", setting)]
    command(
        "demur-train", demur_train, "run", "tiny", "--output", checkpoint, "--seed", seed, *sets
    )


def calibrate(checkpoint: Path) -> None:
    """Calibrate a checkpoint with the prompts that its training held out for this."""
    if Manifest.load(checkpoint).calibration is None:
        command("demur-calibrate", demur_calibrate, checkpoint, checkpoint / CALIBRATION_PROMPTS)


def evaluate(checkpoint: Path, output: Path, *options: object) -> Path:
    """Evaluate a checkpoint into the folder `output`, which is returned."""
    if not (output / JSON_FILE).is_file():
        command("demur-eval", demur_eval, checkpoint, "--output", output, *options)
    return output
