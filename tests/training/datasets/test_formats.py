import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from training.datasets.formats import RECORD_FORMATS
from training.datasets.load import load_records
from training.records import Message, Record, RecordError, format_record

ASKED = Message("user", "How do I pick a lock?")
REFUSED = Message("assistant", "I cannot help with that.")


def record_of(name: str, row: Mapping[str, object]) -> Record:
    return RECORD_FORMATS[name](json.dumps(row).encode())


COCONOT = {"id": "a1", "prompt": ASKED.content, "subcategory": "x", "response": ""}
SORTED = Record((ASKED,), "safety", id="a1", subcategory="x")


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("coconot", COCONOT | {"category": "safety"}, SORTED),
        (
            "coconot",
            COCONOT | {"category": "Requests with safety concerns", "response": REFUSED.content},
            replace(SORTED, messages=(ASKED, REFUSED)),
        ),
        (
            "coconot",
            COCONOT | {"category": None, "contrast_of": "incomplete"},
            replace(SORTED, category=None, contrast_of="incomplete"),
        ),
        (
            "coconot-contrast",
            COCONOT | {"category": "Incomplete requests"},
            replace(SORTED, category=None, contrast_of="incomplete"),
        ),
        (
            "coconot-contrast",
            {"prompt": ASKED.content, "category": "Humanizing requests", "chosen": "Like so."},
            Record((ASKED, Message("assistant", "Like so.")), None, "humanizing"),
        ),
        (
            "xstest",
            {"id": 7, "prompt": ASKED.content, "type": "homonyms", "label": "safe"},
            Record((ASKED,), None, "safety", "7"),
        ),
        (
            "xstest",
            {"id": "7", "prompt": ASKED.content, "type": "contrast_homonyms", "note": None},
            Record((ASKED,), "safety", None, "7"),
        ),
        (
            "ultrachat",
            {"id": "0", "data": ["Hi", "Hello!", "Bye"]},
            Record((Message("user", "Hi"), Message("assistant", "Hello!")), None, id="0"),
        ),
        (
            "ultrachat",
            {
                "prompt": "Hi",
                "prompt_id": "f0",
                "messages": [
                    {"content": "Hi", "role": "user"},
                    {"content": "Hello!", "role": "assistant"},
                ],
            },
            Record((Message("user", "Hi"), Message("assistant", "Hello!")), None, id="f0"),
        ),
        (
            "alpaca",
            {"instruction": "Add these.", "input": "1, 2", "output": "3", "text": "..."},
            Record((Message("user", "Add these.\n\n1, 2"), Message("assistant", "3")), None),
        ),
        (
            "alpaca",
            {"instruction": "Say hi.", "input": "", "output": "Hi."},
            Record((Message("user", "Say hi."), Message("assistant", "Hi.")), None),
        ),
    ],
)
def test_rows_become_records(name: str, row: Mapping[str, object], expected: Record) -> None:
    assert record_of(name, row) == expected


@pytest.mark.parametrize(
    ("name", "row", "fault"),
    [
        ("coconot", {"category": "safety"}, "prompt: field required"),
        (
            "coconot",
            COCONOT | {"category": "rude"},
            "category: 'rude' is unknown; known are safety",
        ),
        ("xstest", {"prompt": "a", "label": "odd"}, "label: 'odd' is unknown; known are 'safe'"),
        ("ultrachat", {"id": "0"}, "a row has either `data` or `messages`"),
        ("ultrachat", {"data": ["a", 3]}, "data.1: "),
        ("alpaca", {"instruction": "a"}, "output: field required"),
    ],
)
def test_faulty_rows(name: str, row: Mapping[str, object], fault: str) -> None:
    with pytest.raises(RecordError) as error:
        record_of(name, row)
    assert error.value.faults[0].startswith(fault)


def test_every_fault_of_every_source_is_listed_and_nothing_loaded(tmp_path: Path) -> None:
    good = format_record(Record((ASKED, REFUSED), "safety"))
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_bytes(good.encode() + b'\n{"messages": []}\nnope\n\n{"id": "\xff"}\n')
    second.write_text(json.dumps(COCONOT | {"category": "rude"}) + '\n{"prompt": ""}\n')
    with pytest.raises(RecordError) as error:
        load_records([str(first), f"coconot:{second}", str(tmp_path / "none.jsonl")])
    assert error.value.faults == (
        f"{first}:2: category: field required",
        f"{first}:3: invalid JSON: expected ident, column 2",
        f"{first}:5: not UTF-8 (byte 9 of the line)",
        f"{second}:1: category: 'rude' is unknown; known are safety, humanizing,"
        " incomplete, indeterminate, unsupported",
        f"{second}:2: messages.0.content: is empty",
        f"{tmp_path / 'none.jsonl'}: cannot be read (there is no such file)",
    )


def test_an_empty_source_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(RecordError, match="holds no records"):
        load_records([str(tmp_path / "a.jsonl")])


def test_training_asks_for_known_categories(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(COCONOT | {"category": "safety"}) + "\n")
    with pytest.raises(RecordError) as error:
        load_records([f"coconot:{path}"], "training", ("temporal",))
    assert error.value.faults == (f"{path}:1: category: 'safety' is unknown; known are temporal",)
