"""An option that many benchmarks have: whose model is measured."""

import argparse
from pathlib import Path

from steering.manifest import Manifest, ManifestError

DEFAULT = "checkpoints/smollm2"


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Let `parser` take --checkpoint, a folder; one that holds no manifest ends the program."""
    parser.add_argument(
        "--checkpoint",
        type=_checkpoint,
        default=DEFAULT,
        metavar="DIR",
        help="default: %(default)s",
    )


def _checkpoint(text: str) -> Path:
    folder = Path(text)
    try:
        Manifest.load(folder)
    except ManifestError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return folder
