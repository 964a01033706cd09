"""The work folder of a training run, beside the checkpoint that it makes.

    OUTPUT.part/run.json     what the run is made of; another recipe or other data start anew
    OUTPUT.part/start/       tokenizer and untrained model, with their control tokens
    OUTPUT.part/states/      the base's hidden states; they outlive what they were read for
    OUTPUT.part/saves/       the trainer's saves
    OUTPUT.part/finished/    the checkpoint, renamed to OUTPUT when it is whole

OUTPUT itself therefore is a finished checkpoint or does not exist.
"""

import logging
import shutil
from pathlib import Path

from steering.manifest import MANIFEST_FILE
from training.errors import TrainingError

STATES = "states"

logger = logging.getLogger(__name__)


class RunError(TrainingError):
    """A run cannot start: something stands in its way, or there is nothing to train on."""


def is_finished(output: Path) -> bool:
    """Whether the folder `output` holds a finished checkpoint."""
    return (output / MANIFEST_FILE).is_file()


def check_output(output: Path, force: bool) -> None:
    """Raise RunError if something at `output` is not to be replaced."""
    if output.is_dir() and not any(output.iterdir()):
        return
    if output.exists() and not is_finished(output):
        raise RunError(f"{output} exists and is no checkpoint: name another folder or remove it")
    if output.exists() and not force:
        raise RunError(f"{output} holds a finished checkpoint: use force to replace it")


def open_work_folder(part: Path, fingerprint: str) -> None:
    """Make the work folder `part`, or keep the one that a run with this fingerprint left.

    Raises RunError if `part` is something else.
    """
    run = part / "run.json"
    if part.exists() and any(each.name != STATES for each in part.iterdir()):
        if not run.is_file():
            raise RunError(f"{part} is in the way: it is not the work folder of a training run")
        if run.read_text(encoding="utf-8", errors="replace") == fingerprint:
            logger.info("Going on with the interrupted run in %s.", part)
            return
        logger.info("The interrupted run in %s had other settings or data: starting anew.", part)
        _clear(part)
    part.mkdir(parents=True, exist_ok=True)
    run.write_text(fingerprint, encoding="utf-8")


def put_in_place(finished: Path, output: Path, part: Path, *, keep_states: bool = False) -> None:
    """Rename the whole checkpoint `finished` to `output`, and remove the work folder.

    keep_states: leave the hidden states there, for another run on the same base.
    """
    if output.exists() and any(output.iterdir()):
        # Two renames: a kill between them leaves no checkpoint, but never a mixed one, and the
        # next run has only its last step left to do.
        output.rename(part / "replaced")
    finished.replace(output)
    if keep_states:
        _clear(part)
    else:
        shutil.rmtree(part)


def _clear(part: Path) -> None:
    """Remove all of the work folder but the hidden states."""
    for path in part.iterdir():
        if path.is_file():
            path.unlink()
        elif path.name != STATES:
            shutil.rmtree(path)
