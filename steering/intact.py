"""Whether a checkpoint's files are whole: a copy or a download that was cut off is noticed here.

An engine that meets a damaged file says so from deep inside, minutes later, and without its name.
"""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from steering.fingerprint import WEIGHTS

CONFIG = "config.json"


class DamagedError(ValueError):
    """A file of a checkpoint is missing, cut off or not what its name says."""


def check_intact(checkpoint: Path) -> None:
    """Read the JSON files of a checkpoint, and the headers of its weights against their length.

    Raises DamagedError with the file and the remedy.
    """
    weights = sorted(checkpoint.glob(WEIGHTS))
    if not weights:
        raise DamagedError(f"{checkpoint} holds no weights ({WEIGHTS})")
    for path in sorted({checkpoint / CONFIG, *checkpoint.glob("*.json")}):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (OSError, RecursionError, ValueError) as error:
            raise _damaged(path, error) from error
    for path in weights:
        try:
            with safe_open(path, framework="numpy"):
                pass  # its header says how long the file is
        except (OSError, SafetensorError) as error:
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DamagedError:
    return DamagedError(
        f"{path} is damaged or missing ({error}): copy the checkpoint again, or make it anew"
    )
