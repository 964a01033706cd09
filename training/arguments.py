"""What the command lines have in common."""

import argparse
from collections.abc import Sequence

BATCH_SIZE = 32
"""Prompts at a time, where nothing else is asked for."""
MAX_TOKENS = 64
"""Of an answer that is written to be scored or read, where nothing else is asked for."""
DTYPES = ("float32", "bfloat16", "float16")
"""Of a checkpoint's weights and activations; the first where none is named."""


def positive(text: str) -> int:
    """A number from 1 on. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def repeated(names: Sequence[str]) -> str | None:
    """The first of `names` that came before; None if none did."""
    return next((name for place, name in enumerate(names) if name in names[:place]), None)
