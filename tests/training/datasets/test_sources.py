import gzip
import json
from pathlib import Path

import pytest

from training.datasets.sources import Row, Source, parse_source, rows
from training.records import RecordError

FORMATS = ("records", "coconot")


def read(path: Path, limit: int | None = None) -> list[Row]:
    return list(rows(Source("records", str(path)), limit))


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("a.jsonl", Source("records", "a.jsonl")),
        ("coconot:a.jsonl", Source("coconot", "a.jsonl")),
        ("hub:owner/name", Source("records", "owner/name", hub=True)),
        ("coconot:hub:o/n:original", Source("coconot", "o/n", True, "original")),
        ("coconot:hub:o/n:original:test", Source("coconot", "o/n", True, "original", "test")),
        ("coconot:hub:o/n::test", Source("coconot", "o/n", True, None, "test")),
    ],
)
def test_sources_name_format_place_config_and_split(text: str, source: Source) -> None:
    assert parse_source(text, FORMATS, "records") == source


def test_a_file_with_a_colon_in_its_name_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run:1.jsonl").touch()
    assert parse_source("run:1.jsonl", FORMATS, "records").place == "run:1.jsonl"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("cocoa:a.jsonl", "is no file, and 'cocoa' no format; known are records, coconot"),
        ("hub:alpaca", "is not of the form hub:OWNER/NAME"),
        ("hub:o/n:c:s:x", "is not of the form hub:OWNER/NAME"),
    ],
)
def test_faulty_sources_say_what_is_allowed(text: str, fault: str) -> None:
    with pytest.raises(RecordError, match=fault):
        parse_source(text, FORMATS, "records")


def test_lines_keep_their_bytes_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": "\xe2\x80\xa8\xc2\x85"}\r\n\n \nnope \xff\n{"b": 1}')
    assert read(path) == [
        Row(f"{path}:1", b'{"a": "\xe2\x80\xa8\xc2\x85"}'),
        Row(f"{path}:4", b"nope \xff"),
        Row(f"{path}:5", b'{"b": 1}'),
    ]


def test_an_array_of_json_has_items(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('\n [{"a": "ü"},\n 2]', encoding="utf-8")
    assert read(path) == [
        Row(f"{path}, item 1", '{"a": "ü"}'.encode()),
        Row(f"{path}, item 2", b"2"),
    ]


def test_compressed_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n{"a": 2}\n'))
    assert [json.loads(row.json)["a"] for row in read(path)] == [1, 2]


def test_tables_come_as_json(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,prompt\n1,"two\nlines, one cell"\n2,\n')
    assert [(row.place, json.loads(row.json)) for row in read(path)] == [
        (f"{path}, row 1", {"id": 1, "prompt": "two\nlines, one cell"}),
        (f"{path}, row 2", {"id": 2, "prompt": None}),
    ]


def test_a_limit_leaves_the_rest_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a": 3}\n')
    assert [row.place for row in read(path, 2)] == [f"{path}:1", f"{path}:2"]


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("absent.jsonl", None, "absent.jsonl: cannot be read"),
        ("a.xlsx", b"", r"'.xlsx' is not a known kind of file; known are .jsonl, .json, .csv"),
        ("a.json", b"[1, 2", "is not a JSON array"),
        ("a.parquet", b"nothing of the kind", "a.parquet: cannot be read"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes | None, fault: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordError, match=fault):
        read(tmp_path / name)
