"""Errors of a full disk, under the name of the folder that was written to."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from training.errors import TrainingError

MIB = 1 << 20
TORCH_WRITER = "inline_container"
"""Where torch (2.13) notices that a file cannot be written; it raises a plain RuntimeError."""


class StorageError(TrainingError):
    """Files could not be written or read."""


@contextmanager
def storing(folder: Path, remedy: str) -> Iterator[None]:
    """Raise StorageError, with `folder`, its free space and `remedy`, where files fail inside."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and TORCH_WRITER not in str(error):
            raise
        free = shutil.disk_usage(_standing(folder)).free // MIB
        raise StorageError(
            f"files in {folder} could not be written or read ({error}; {free} MiB are free there)."
            f" {remedy}"
        ) from error


def _standing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
