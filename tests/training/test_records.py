import json
from dataclasses import replace
from pathlib import Path

import pytest

from steering.shapes import features_of
from training.datasets.load import load_records
from training.records import (
    Message,
    Prompt,
    Purpose,
    Record,
    RecordError,
    format_record,
    parse_record,
    write_records,
)
from training.tools import Tool

CATEGORIES = ("safety", "temporal")


def function(**fields: object) -> Tool:
    return {"type": "function", "function": fields}


def turns(*pairs: tuple[str, str], category: str | None = None) -> Record:
    return Record(tuple(Message(role, content) for role, content in pairs), category)


ANSWERED = turns(("user", "Hello"), ("assistant", "Hi!"))
TRIPLE = Record(
    (Message("user", "steal"), Message("assistant", "No.")), "safety", harmful="Take it."
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Wetter ☂",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def test_round_trip_keeps_every_field_and_character(tmp_path: Path) -> None:
    records = [
        ANSWERED,
        turns(("system", "Be brief."), ("user", "Rain?\n\t\u2028"), ("assistant", "Ünklar ☂")),
        Record(ANSWERED.messages, None, contrast_of="safety", id="a-1"),
        turns(("user", "steal"), ("assistant", "No."), category="safety"),
        TRIPLE,
        Record((Message("user", "a"), Message("assistant", "b", thinking="c")), None),
        replace(ANSWERED, tools=(WEATHER, {"type": "function", "function": {"name": "clock"}})),
        replace(ANSWERED, subcategory="Small talk: à la carte"),
    ]
    path = tmp_path / "records.jsonl"
    write_records(path, records)
    assert load_records([str(path)], categories=CATEGORIES) == records
    assert [entry.name for entry in tmp_path.iterdir()] == ["records.jsonl"]


def test_defaults_are_not_written_but_the_category_is() -> None:
    assert json.loads(format_record(ANSWERED)) == {
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi!"},
        ],
        "category": None,
    }


def test_a_triple_is_a_record_with_a_harmful_answer() -> None:
    line = (
        b'{"messages": [{"role": "user", "content": "steal"}, {"role": "assistant", "content":'
        b' "No."}], "category": "safety", "harmful": "Take it."}'
    )
    assert parse_record(line) == TRIPLE


def test_blank_lines_windows_line_ends_and_a_byte_order_mark_are_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    line = format_record(ANSWERED).encode()
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n" + line)
    assert load_records([str(path)]) == [ANSWERED, ANSWERED]


@pytest.mark.parametrize(
    ("line", "faults"),
    [
        (b"nope", ["invalid JSON: expected ident, column 2"]),
        (b'{"messages": []', ["invalid JSON: EOF while parsing an object, column 15"]),
        (b'{"id": "\xff"}', ["not UTF-8 (byte 9 of the line)"]),
        (b"[]", ["input should be an object"]),
        (b'{"messages": []}', ["category: field required"]),
        (b'{"messages": "hello", "category": null}', ["messages: input should be a valid array"]),
        (
            b'{"messages": [{"role": 3, "content": null}], "category": 4}',
            [
                "messages.0.role: input should be a valid string",
                "messages.0.content: input should be a valid string",
                "category: input should be a valid string",
            ],
        ),
        (
            b'{"messages": [{"role": "user"}], "category": null}',
            ["messages.0.content: field required"],
        ),
        (
            b'{"messages": [], "category": null, "label": 1}',
            ["label: unexpected keyword argument"],
        ),
    ],
)
def test_lines_that_are_no_record(line: bytes, faults: list[str]) -> None:
    with pytest.raises(RecordError) as caught:
        parse_record(line)
    assert list(caught.value.faults) == faults


@pytest.mark.parametrize(
    ("record", "faults"),
    [
        (turns(), ["messages: is empty"]),
        (
            turns(("human", "Hello"), ("assistant", "Hi!")),
            ["messages.0.role: 'human' is unknown; known are system, user, assistant, tool"],
        ),
        (turns(("user", " \n"), ("assistant", "Hi!")), ["messages.0.content: is empty"]),
        (
            turns(("assistant", "Hi!")),
            ["messages.0.role: 'assistant' at the start; allowed there: 'system' or 'user'"],
        ),
        (
            turns(("user", "a"), ("user", "b"), ("assistant", "c")),
            ["messages.1.role: 'user' after 'user'; allowed there: 'assistant'"],
        ),
        (
            turns(("user", "a"), ("system", "b"), ("user", "c"), ("assistant", "d")),
            ["messages.1.role: 'system' after 'user'; allowed there: 'assistant'"],
        ),
        (
            turns(("system", "a"), ("assistant", "b")),
            ["messages.1.role: 'assistant' after 'system'; allowed there: 'user'"],
        ),
        (
            turns(("user", "a"), ("tool", "b"), ("assistant", "c")),
            ["messages.1.role: 'tool' after 'user'; allowed there: 'assistant'"],
        ),
        (turns(("system", "a")), ["messages: hold no user turn"]),
        *(
            (
                replace(TRIPLE, messages=unanswered.messages),
                ["a triple must end in an assistant turn, its safe answer"],
            )
            for unanswered in (
                turns(("user", "a")),
                turns(("user", "a"), ("assistant", "b"), ("tool", "c")),
            )
        ),
        (
            turns(("user", "say <|respond|> now"), ("assistant", "<|im_end|>")),
            [
                "messages.0.content: holds '<|respond|>', which reads as a control token",
                "messages.1.content: holds '<|im_end|>', which reads as a control token",
            ],
        ),
        (
            turns(("user", "<|refuse:safety|>"), ("assistant", "a")),
            ["messages.0.content: holds '<|refuse:safety|>', which reads as a control token"],
        ),
        (
            turns(("user", "a"), ("assistant", "b"), category="weather"),
            ["category: 'weather' is unknown; known are safety, temporal"],
        ),
        (
            Record(ANSWERED.messages, None, contrast_of="weather"),
            ["contrast_of: 'weather' is unknown; known are safety, temporal"],
        ),
        (
            Record(ANSWERED.messages, None, harmful=" "),
            [
                "harmful: is empty",
                "a triple is refused: with harmful goes a category that is not null",
            ],
        ),
        (
            replace(TRIPLE, harmful="take <|respond|>"),
            ["harmful: holds '<|respond|>', which reads as a control token"],
        ),
        (
            Record((Message("user", "a", thinking=""), Message("assistant", "b")), None),
            [
                "messages.0.thinking: is empty",
                "messages.0.thinking: belongs to assistant turns, not to 'user'",
            ],
        ),
        (
            replace(ANSWERED, tools=({"type": "search", "function": "f"}, {"name": "clock"})),
            [
                "tools.0.type: 'search' is unknown; known is 'function'",
                "tools.0.function: is no object",
                "tools.1.name: is unknown; known are type, function",
                "tools.1.type: None is unknown; known is 'function'",
                "tools.1.function: is no object",
            ],
        ),
        (
            replace(ANSWERED, tools=(function(name=" ", parameters=[1], description=2, code=1),)),
            [
                "tools.0.function.code: is unknown; known are name, description, parameters,"
                " strict",
                "tools.0.function.name: ' ' is no name",
                "tools.0.function.description: 2 is no text",
                "tools.0.function.parameters: [1] is no object",
            ],
        ),
        (
            replace(ANSWERED, tools=(function(name="a", parameters={"b": ["<|respond|>"]}),)),
            ["tools.0: holds '<|respond|>', which reads as a control token"],
        ),
        (replace(ANSWERED, subcategory=""), ["subcategory: is empty"]),
        (
            Record(ANSWERED.messages, "safety", contrast_of="temporal"),
            ["a contrast record is harmless: its category must be null"],
        ),
    ],
)
def test_faults_of_a_record(record: Record, faults: list[str]) -> None:
    assert record.faults("training", CATEGORIES) == faults


@pytest.mark.parametrize(
    "record",
    [
        ANSWERED,
        turns(("system", "a"), ("user", "b"), ("assistant", "c")),
        turns(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")),
        turns(("user", "a"), ("assistant", "b"), ("tool", "c"), ("tool", "d"), ("assistant", "e")),
        # Their decision alone is learnt.
        turns(("user", "a")),
        turns(("user", "a"), category="safety"),
        turns(("user", "a"), ("assistant", "b"), ("tool", "c")),
        turns(("user", "x <| y |> z, a || b, <|>"), ("assistant", "|>")),
        turns(("user", "a"), ("assistant", "b"), category="temporal"),
        TRIPLE,
        replace(ANSWERED, tools=(WEATHER, function(name="a", parameters=None, strict=True))),
    ],
)
def test_records_without_faults(record: Record) -> None:
    assert record.faults("training", CATEGORIES) == []


def test_unknown_names_pass_where_no_categories_are_given() -> None:
    assert turns(("user", "a"), ("assistant", "b"), category="weather").faults() == []


@pytest.mark.parametrize(("purpose", "count"), [("training", 1), ("calibration", 0)])
def test_only_a_triple_to_train_on_needs_an_answer(purpose: Purpose, count: int) -> None:
    unanswered = replace(TRIPLE, messages=TRIPLE.messages[:1])
    assert len(unanswered.faults(purpose)) == count


def test_the_prompt_leaves_the_answer_out() -> None:
    assert ANSWERED.prompt == Prompt.asking("Hello")
    assert turns(("user", "Hello")).prompt == Prompt.asking("Hello")
    longer = turns(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))
    assert longer.prompt.messages == longer.messages[:3]


def test_tools_go_wherever_the_prompt_goes() -> None:
    record = replace(TRIPLE, tools=(WEATHER,))
    other = replace(record, tools=(function(name="clock"),))
    assert record.prompt == record.harmfully_answered.prompt
    assert record.prompt.tools == record.conversation.tools == (WEATHER,)
    assert len({TRIPLE.prompt, record.prompt, other.prompt, record.prompt}) == 3
    assert "tools" not in TRIPLE.prompt.fields()
    assert record.prompt.fields() == {
        "messages": [{"role": "user", "content": "steal"}],
        "tools": [WEATHER],
        "tool_choice": "none",
    }


def test_the_shape_of_a_prompt_is_without_its_answer() -> None:
    assert features_of(ANSWERED.prompt.shape) == ("plain",)
    assert features_of(replace(ANSWERED, tools=(WEATHER,)).prompt.shape) == ("tools",)
    pairs = ("system", "a"), ("user", "b"), ("assistant", "c"), ("user", "d"), ("assistant", "e")
    assert features_of(turns(*pairs).prompt.shape) == ("system", "turns")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write_records(path, [ANSWERED])
    with pytest.raises(ZeroDivisionError):
        write_records(path, (ANSWERED for _ in range(1 // 0)))
    assert load_records([str(path)]) == [ANSWERED]
