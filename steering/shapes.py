"""The shape of a prompt: what stands around its question. Scores depend on it.

A shape is a bitmask of features, 0 for a plain prompt. Rates are a promise for prompts of the
shapes that were calibrated.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

FEATURES: Mapping[str, int] = MappingProxyType({"system": 1, "tools": 2, "turns": 4})
"""Each feature's bit: a system message, at least one tool, an assistant's or a tool's message."""
PLAIN = "plain"
"""What a prompt without any of them is called."""

_WORDS = {
    "system": "has a system prompt",
    "tools": "has tools",
    "turns": "has earlier turns",
    PLAIN: "is without a system prompt, tools and earlier turns",
}


def shape_of(roles: Iterable[str], tools: int) -> int:
    """The shape of a prompt with messages of these `roles` and so many tools."""
    shape = FEATURES["tools"] if tools else 0
    for role in roles:
        if role in ("system", "developer"):
            shape |= FEATURES["system"]
        elif role in ("assistant", "tool"):
            shape |= FEATURES["turns"]
    return shape


def features_of(shape: int) -> tuple[str, ...]:
    """The names of a shape's features, or PLAIN."""
    return tuple(name for name, bit in FEATURES.items() if shape & bit) or (PLAIN,)


def tally(shapes: Iterable[int]) -> dict[str, int]:
    """Number of prompts by feature, PLAIN last; a prompt counts for each of its features."""
    counts = dict.fromkeys((*FEATURES, PLAIN), 0)
    for shape in shapes:
        for name in features_of(shape):
            counts[name] += 1
    return counts


def uncovered(counts: Mapping[str, int], shape: int) -> tuple[str, ...]:
    """A sentence for each feature of `shape` that no prompt of a calibration has.

    counts: the calibration's prompts, as `tally` has them.
    """
    return tuple(
        f"no calibration prompt {_WORDS[name]}: rates are not a promise for this prompt"
        for name in features_of(shape)
        if not counts.get(name)
    )
