"""What the command lines have in common."""

from collections.abc import Sequence


def repeated(names: Sequence[str]) -> str | None:
    """The first of `names` that came before; None if none did."""
    return next((name for place, name in enumerate(names) if name in names[:place]), None)
