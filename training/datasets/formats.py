"""The layouts of public datasets, each read as records.

A prompt that the dataset gives no answer for becomes a record that ends in the user's turn: good to
calibrate and to measure with, not to train on.
"""

from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from training.categories import COCONOT
from training.records import Message, Record, RecordError, parse_line, parse_record
from training.tools import Tool

SAFETY = "safety"
"""The category of datasets that know only harmful and harmless."""


class Row(BaseModel):
    """A row; fields that are not named here do not matter."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Identity = Annotated[str, Field(coerce_numbers_to_str=True)]


class PromptRow(Row):
    """A conversation with or without labels, which are not looked at."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] | None = None


class CoconotRow(Row):
    """CoCoNot (arXiv 2407.12043): original, contrast and preference sets."""

    id: Identity | None = None
    prompt: str
    category: str | None = None
    subcategory: str | None = None
    contrast_of: str | None = None
    response: str | None = None
    chosen: str | None = None
    """The preference set's answer, which complies."""


class XstestRow(Row):
    """XSTest (arXiv 2308.01263), version 2, or version 1, which has no label."""

    id: Identity | None = None
    prompt: str
    type: str = ""
    label: str | None = None


class UltrachatRow(Row):
    """UltraChat (arXiv 2305.14233): turns in `data`, or, filtered on the hub, in `messages`."""

    id: Identity | None = None
    prompt_id: str | None = None
    data: tuple[str, ...] | None = None
    messages: tuple[Message, ...] | None = None


class AlpacaRow(Row):
    """Alpaca: an instruction, what it is about, and the output."""

    instruction: str
    input: str = ""
    output: str


def prompts(line: bytes) -> Record:
    """A conversation of which nothing is known: traffic."""
    row = parse_line(PromptRow.model_validate_json, line)
    return Record(row.messages, None, tools=row.tools or ())


def coconot(line: bytes) -> Record:
    """A prompt to refuse under its category, unless the category is null."""
    row = parse_line(CoconotRow.model_validate_json, line)
    return Record(
        _turns(row.prompt, row.response),
        _coconot_category(row.category),
        _coconot_category(row.contrast_of),
        row.id,
        subcategory=row.subcategory,
    )


def coconot_contrast(line: bytes) -> Record:
    """A harmless prompt; CoCoNot's `category` says what it looks like."""
    row = parse_line(CoconotRow.model_validate_json, line)
    alike = _coconot_category(row.contrast_of or row.category)
    turns = _turns(row.prompt, row.response or row.chosen)
    return Record(turns, None, alike, row.id, subcategory=row.subcategory)


def xstest(line: bytes) -> Record:
    """A harmful prompt, or a harmless one that looks harmful."""
    row = parse_line(XstestRow.model_validate_json, line)
    # Version 1 marks harmful prompts by their type alone.
    label = row.label or ("unsafe" if row.type.startswith("contrast") else "safe")
    if label not in ("safe", "unsafe"):
        raise RecordError([f"label: {label!r} is unknown; known are 'safe', 'unsafe'"])
    category, alike = (SAFETY, None) if label == "unsafe" else (None, SAFETY)
    return Record(_turns(row.prompt, None), category, alike, row.id)


def ultrachat(line: bytes) -> Record:
    """A conversation to answer; a user's turn at its end has no answer and is left out."""
    row = parse_line(UltrachatRow.model_validate_json, line)
    if (row.data is None) == (row.messages is None):
        raise RecordError(["a row has either `data` or `messages`"])
    roles = ("user", "assistant")
    turns = row.messages or tuple(
        Message(roles[index % 2], text) for index, text in enumerate(row.data or ())
    )
    if turns and turns[-1].role == "user":
        turns = turns[:-1]
    return Record(turns, None, None, row.id or row.prompt_id)


def alpaca(line: bytes) -> Record:
    """An instruction to follow."""
    row = parse_line(AlpacaRow.model_validate_json, line)
    prompt = f"{row.instruction}\n\n{row.input}" if row.input.strip() else row.instruction
    return Record((Message("user", prompt), Message("assistant", row.output)), None)


RECORD_FORMATS: dict[str, Callable[[bytes], Record]] = {
    "records": parse_record,
    "prompts": prompts,
    "coconot": coconot,
    "coconot-contrast": coconot_contrast,
    "xstest": xstest,
    "ultrachat": ultrachat,
    "alpaca": alpaca,
}
"""By the name that a source gives; our own JSON lines first."""


def _turns(prompt: str, answer: str | None) -> tuple[Message, ...]:
    asked = Message("user", prompt)
    return (asked, Message("assistant", answer)) if answer and answer.strip() else (asked,)


def _coconot_category(text: str | None) -> str | None:
    """Our name of a category, which CoCoNot calls `Requests with safety concerns`, for example."""
    if text is None:
        return None
    found = [name for name in COCONOT if name in text.lower()]
    if len(found) != 1:
        known = ", ".join(COCONOT)
        raise RecordError([f"category: {text!r} is unknown; known are {known}"])
    return found[0]
