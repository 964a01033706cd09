"""The layouts of public datasets, each read as records.

A prompt that the dataset gives no answer for becomes a record that ends in the user's turn: good to
calibrate and to measure with, not to train on.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.records import Message, Record, RecordError, parse_record

COCONOT_CATEGORIES = ("humanizing", "incomplete", "indeterminate", "safety", "unsupported")
SAFETY = "safety"
"""The category of datasets that know only harmful and harmless."""


class _Row(BaseModel):
    """A row; fields that are not named here do not matter."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Parsed = TypeVar("Parsed", bound=BaseModel)
Identity = Annotated[str, Field(coerce_numbers_to_str=True)]


class CoconotRow(_Row):
    """CoCoNot (arXiv 2407.12043): original, contrast and preference sets."""

    id: Identity | None = None
    prompt: str
    category: str | None = None
    contrast_of: str | None = None
    response: str | None = None
    chosen: str | None = None
    """The preference set's answer, which complies."""


class XstestRow(_Row):
    """XSTest (arXiv 2308.01263), version 2, or version 1, which has no label."""

    id: Identity | None = None
    prompt: str
    type: str = ""
    label: str | None = None


class UltrachatRow(_Row):
    """UltraChat (arXiv 2305.14233): turns in `data`, or, filtered on the hub, in `messages`."""

    id: Identity | None = None
    prompt_id: str | None = None
    data: tuple[str, ...] | None = None
    messages: tuple[Message, ...] | None = None


class AlpacaRow(_Row):
    """Alpaca: an instruction, what it is about, and the output."""

    instruction: str
    input: str = ""
    output: str


def coconot(line: bytes) -> Record:
    """A prompt to refuse under its category, unless the category is null."""
    row = parse(CoconotRow, line)
    return Record(
        _turns(row.prompt, row.response),
        _coconot_category(row.category),
        _coconot_category(row.contrast_of),
        row.id,
    )


def coconot_contrast(line: bytes) -> Record:
    """A harmless prompt; CoCoNot's `category` says what it looks like."""
    row = parse(CoconotRow, line)
    alike = _coconot_category(row.contrast_of or row.category)
    return Record(_turns(row.prompt, row.response or row.chosen), None, alike, row.id)


def xstest(line: bytes) -> Record:
    """A harmful prompt, or a harmless one that looks harmful."""
    row = parse(XstestRow, line)
    # Version 1 marks harmful prompts by their type alone.
    label = row.label or ("unsafe" if row.type.startswith("contrast") else "safe")
    if label not in ("safe", "unsafe"):
        raise RecordError([f"label: {label!r} is unknown; known are 'safe', 'unsafe'"])
    category, alike = (SAFETY, None) if label == "unsafe" else (None, SAFETY)
    return Record(_turns(row.prompt, None), category, alike, row.id)


def ultrachat(line: bytes) -> Record:
    """A conversation to answer; a user's turn at its end has no answer and is left out."""
    row = parse(UltrachatRow, line)
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
    row = parse(AlpacaRow, line)
    prompt = f"{row.instruction}\n\n{row.input}" if row.input.strip() else row.instruction
    return Record((Message("user", prompt), Message("assistant", row.output)), None)


FORMATS: dict[str, Callable[[bytes], Record]] = {
    "records": parse_record,
    "coconot": coconot,
    "coconot-contrast": coconot_contrast,
    "xstest": xstest,
    "ultrachat": ultrachat,
    "alpaca": alpaca,
}
"""By the name that a source gives; the first, our own JSON lines, where it gives none."""


def parse(model: type[Parsed], line: bytes) -> Parsed:
    """One row from one line of JSON. Raises RecordError with every fault of it."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError([f"not UTF-8 (byte {error.start + 1} of the line)"]) from error
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        raise RecordError(_sentences(error.errors())) from error


def _sentences(faults: Iterable[Any]) -> Iterable[str]:
    for fault in faults:
        # Each line is parsed alone: the parser's own line number would read as the file's.
        message = fault["msg"][0].lower() + fault["msg"][1:]
        message = message.replace(" at line 1 column", ", column")
        place = ".".join(map(str, fault["loc"]))
        yield f"{place}: {message}" if place else message


def _turns(prompt: str, answer: str | None) -> tuple[Message, ...]:
    asked = Message("user", prompt)
    return (asked, Message("assistant", answer)) if answer and answer.strip() else (asked,)


def _coconot_category(text: str | None) -> str | None:
    """Our name of a category, which CoCoNot calls `Requests with safety concerns`, for example."""
    if text is None:
        return None
    found = [name for name in COCONOT_CATEGORIES if name in text.lower()]
    if len(found) != 1:
        known = ", ".join(COCONOT_CATEGORIES)
        raise RecordError([f"category: {text!r} is unknown; known are {known}"])
    return found[0]
