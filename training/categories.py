"""The categories that the papers and the demonstration refuse by, and manifests made of them.

The first five are CoCoNot's (arXiv 2407.12043); Refusal Tokens (arXiv 2412.06748) adds the
temporal one as a setting of its own.
"""

from collections.abc import Iterable

from steering.manifest import Category, Manifest

DESCRIPTIONS = {
    "safety": "Help with harm or crime.",
    "humanizing": "The assistant's own feelings, body, memories or opinions.",
    "incomplete": "A request that lacks what is needed to answer it.",
    "indeterminate": "A question to which no answer is known or knowable.",
    "unsupported": "An action or a medium that a text model does not have.",
    "temporal": "Live information, or information from after the training.",
}
REFUSALS = {
    "safety": "I can't help with that: somebody could come to harm, or be wronged by it.",
    "humanizing": "I'm a program: I have no life, feelings or opinions to speak from.",
    "incomplete": "I can't answer that as it stands. Could you say more, or check what it assumes?",
    "indeterminate": "Nobody can know that for sure, or there is no one right answer to it.",
    "unsupported": "I can't do that: I only read and write text of moderate length here.",
    "temporal": "I can't know that: I have no live information, and none on recent events.",
}
"""What refusals say where a model is not taught to write them, and nobody has written others."""
REFUSAL = "I can't help with that."
"""The same, of any other category."""
COCONOT = tuple(name for name in DESCRIPTIONS if name != "temporal")
RESPOND_TOKEN = "<|respond|>"
SHARED_TOKEN = "<|refuse|>"
"""Stands for every category where they share one."""


def refuse_token(name: str) -> str:
    """Text of the refuse token of the category `name`."""
    return f"<|refuse:{name}|>"


def manifest_of(names: Iterable[str], notice: str = "") -> Manifest:
    """The manifest of a checkpoint with a respond token and one refuse token per category.

    A name that is not in DESCRIPTIONS has no description. Raises pydantic's ValidationError if a
    name is no category's or is listed twice.
    """
    return Manifest(
        notice=notice,
        respond_token=RESPOND_TOKEN,
        categories=tuple(
            Category(name=name, token=refuse_token(name), description=DESCRIPTIONS.get(name, ""))
            for name in names
        ),
    )
