"""Records: conversations with the category that explains why they should be refused, if any.

On disk a record is one line of JSON:

    {"messages": [{"role": "user", "content": "How tall am I?"},
                  {"role": "assistant", "content": "I cannot know that."}],
     "category": "unsupported"}

A category of null means that the prompt should be answered. `contrast_of` marks such a harmless
prompt as a look-alike of a category's. `harmful` makes a refused record a triple (DeRTa's): the
prompt, its safe answer, which ends the messages, and an answer that must never be given. `thinking`
beside an assistant turn's `content` is what the model thought before it. `tools` are those that
the conversation offers, as in OpenAI's requests (see `training.tools`); a call of one is content,
as the model's chat template spells it. `subcategory` is a dataset's finer label, in its words.
`training.datasets.load` reads files of them, whole or not at all.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from steering.shapes import shape_of
from training.errors import TrainingError
from training.tools import Tool, faults_of_tool

ROLES = ("system", "user", "assistant", "tool")

Parsed = TypeVar("Parsed")
Purpose = Literal["training", "calibration"]
"""What a record is read for. A training record ends in the assistant turn to be learnt, or teaches
its decision alone; of a calibration record an assistant turn at its end is dropped."""

_TOKEN_LIKE = re.compile(r"<\|[^\s<>|]+\|>")
_FOLLOWERS = {
    None: ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}


class RecordError(TrainingError):
    """Records do not meet the contract; `faults` names each with its file and line."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__(f"{count} in the records:\n" + "\n".join(self.faults))


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    role: str
    """One of ROLES."""
    content: str
    thinking: str | None = None
    """What an assistant turn's author thought before the content; None where nothing is known."""

    def as_dict(self) -> dict[str, str]:
        """Role and content, as requests and chat templates have them; without the thinking."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True)
class Prompt:
    """A conversation with the tools that it offers: what is rendered before an answer."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = field(default=(), hash=False)  # dicts have no hash

    @classmethod
    def asking(cls, text: str) -> Self:
        """A prompt of one user turn."""
        return cls((Message("user", text),))

    @property
    def shape(self) -> int:
        """What stands around the question, as `steering.shapes` has it."""
        return shape_of((message.role for message in self.messages), len(self.tools))

    def fields(self) -> dict[str, Any]:
        """The fields of a chat-completion request.

        The tool choice is "none": a server renders the tools all the same (vLLM's default), but
        needs no tool parser to take the request, as it would for "auto".
        """
        fields: dict[str, Any] = {"messages": [message.as_dict() for message in self.messages]}
        return fields | {"tools": [*self.tools], "tool_choice": "none"} if self.tools else fields


@dataclass(frozen=True)
class Record:
    """A conversation and what the model should make of its last prompt."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    messages: tuple[Message, ...]
    category: str | None
    """Name of the category under which the prompt should be refused; None to answer it."""
    contrast_of: str | None = None
    """Category that this harmless prompt only looks like; None for every other record."""
    id: str | None = None
    harmful: str | None = None
    """Of a triple: the answer to the same prompt that the model must turn away from."""
    tools: tuple[Tool, ...] = field(default=(), hash=False)
    """What the conversation offers."""
    subcategory: str | None = None
    """A dataset's finer label, in its words."""

    @property
    def prompt(self) -> Prompt:
        """The conversation without the assistant turn at the end, if there is one."""
        return Prompt(self.messages[:-1] if self.answered else self.messages, self.tools)

    @property
    def answered(self) -> bool:
        """Whether it ends in an assistant turn."""
        return bool(self.messages) and self.messages[-1].role == "assistant"

    @property
    def conversation(self) -> Prompt:
        """All messages, with the answer at the end, if there is one."""
        return Prompt(self.messages, self.tools)

    @property
    def harmfully_answered(self) -> "Record":
        """Of a triple: the record if its harmful answer had been given, without a category."""
        assert self.harmful is not None
        answer = Message("assistant", self.harmful)
        return replace(self, messages=(*self.prompt.messages, answer), category=None, harmful=None)

    def faults(
        self, purpose: Purpose = "training", categories: Collection[str] | None = None
    ) -> list[str]:
        """What is wrong with the record, one sentence each; empty when nothing is.

        `categories` are the known ones, in the order to list them; None accepts every name.
        """
        found = [*_faults_of_messages(self.messages), *_faults_of_order(self.messages)]
        if purpose == "training" and self.harmful is not None and not self.answered:
            found.append("a triple must end in an assistant turn, its safe answer")
        if self.category is not None and self.contrast_of is not None:
            found.append("a contrast record is harmless: its category must be null")
        if self.harmful is not None:
            found.extend(_faults_of_text("harmful", self.harmful))
            if self.category is None:
                found.append("a triple is refused: with harmful goes a category that is not null")
        found.extend(_faults_of_tools(self.tools))
        if self.subcategory is not None:
            found.extend(_faults_of_text("subcategory", self.subcategory))
        for key, name in [("category", self.category), ("contrast_of", self.contrast_of)]:
            if categories is not None and name is not None and name not in categories:
                found.append(f"{key}: {name!r} is unknown; known are {', '.join(categories)}")
        return found


def parse_record(line: bytes) -> Record:
    """One record from one line of JSON; checks types, not what `Record.faults` checks.

    Raises RecordError.
    """
    return parse_line(_adapter().validate_json, line)


def parse_line(validate: Callable[[bytes], Parsed], line: bytes) -> Parsed:
    """One line of JSON by pydantic's `validate`. Raises RecordError with every fault of it."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError([f"not UTF-8 (byte {error.start + 1} of the line)"]) from error
    try:
        return validate(line)
    except ValidationError as error:
        raise RecordError(_sentence(fault["loc"], fault["msg"]) for fault in error.errors()) from (
            error
        )


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON lines, replacing the file whole."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(format_record(record) + "\n" for record in records)
    part.replace(path)


def format_record(record: Record) -> str:
    """The record as one line of JSON, without fields that are left at their default."""
    turns = [_given(message, ("role", "content", "thinking")) for message in record.messages]
    fields: dict[str, object] = {"messages": turns, "category": record.category}
    fields |= _given(record, ("contrast_of", "subcategory", "id", "harmful"))
    if record.tools:
        fields["tools"] = record.tools
    return json.dumps(fields, ensure_ascii=False)


def _given(source: Message | Record, names: Iterable[str]) -> dict[str, str]:
    return {name: value for name in names if (value := getattr(source, name)) is not None}


def _faults_of_messages(messages: tuple[Message, ...]) -> Iterator[str]:
    if not messages:
        yield "messages: is empty"
    for index, message in enumerate(messages):
        place = f"messages.{index}"
        if message.role not in ROLES:
            yield f"{place}.role: {message.role!r} is unknown; known are {', '.join(ROLES)}"
        yield from _faults_of_text(f"{place}.content", message.content)
        if message.thinking is not None:
            yield from _faults_of_text(f"{place}.thinking", message.thinking)
            if message.role != "assistant":
                yield f"{place}.thinking: belongs to assistant turns, not to {message.role!r}"


def _faults_of_tools(tools: tuple[Tool, ...]) -> Iterator[str]:
    for index, tool in enumerate(tools):
        yield from (f"tools.{index}.{fault}" for fault in faults_of_tool(tool))
        if token := _TOKEN_LIKE.search(json.dumps(tool, ensure_ascii=False)):
            yield f"tools.{index}: holds {token.group()!r}, which reads as a control token"


def _faults_of_text(place: str, text: str) -> Iterator[str]:
    if not text.strip():
        yield f"{place}: is empty"
    if token := _TOKEN_LIKE.search(text):
        yield f"{place}: holds {token.group()!r}, which reads as a control token"


def _faults_of_order(messages: tuple[Message, ...]) -> Iterator[str]:
    previous = None
    for index, role in enumerate(message.role for message in messages):
        if role in ROLES and previous in _FOLLOWERS and role not in _FOLLOWERS[previous]:
            where = "at the start" if previous is None else f"after {previous!r}"
            allowed = " or ".join(map(repr, _FOLLOWERS[previous]))
            yield f"messages.{index}.role: {role!r} {where}; allowed there: {allowed}"
        previous = role
    if len(messages) == 1 and previous == "system":
        yield "messages: hold no user turn"


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    # Each line is parsed alone: the parser's own line number would read as the file's.
    sentence = message[0].lower() + message[1:].replace(" at line 1 column", ", column")
    return f"{'.'.join(map(str, location))}: {sentence}" if location else sentence


@cache
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)
