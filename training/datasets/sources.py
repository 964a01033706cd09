"""Where rows come from: a local file or the Hugging Face hub, streamed by the `datasets` library.

A source is written `[FORMAT:]PLACE`, where PLACE is a local file or
`hub:OWNER/NAME[:CONFIG[:SPLIT]]`:

    train.jsonl                               our own JSON lines
    coconot:refuse.jsonl                      CoCoNot's layout, from a file
    ultrachat:hub:HuggingFaceH4/ultrachat_200k::train_sft

Rows are handed on as JSON, whatever they were stored in, each with the place to name in a fault.
"""

import codecs
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from training.records import RecordError

HUB = "hub"
DEFAULT_SPLIT = "train"

_TABLES = {".csv": "csv", ".parquet": "parquet"}
_LINES = (".jsonl", ".json")
_COMPRESSED = (".gz", ".zst", ".xz", ".bz2")


@dataclass(frozen=True)
class Source:
    """A dataset's format and place."""

    format: str
    place: str
    """A local path, or the name of a dataset on the hub."""
    hub: bool = False
    config: str | None = None
    split: str = DEFAULT_SPLIT

    @property
    def name(self) -> str:
        """How faults and reports call it."""
        if not self.hub:
            return self.place
        return ":".join([HUB, self.place, self.config or "", self.split])


@dataclass(frozen=True)
class Row:
    """One row of a dataset."""

    place: str
    """File and line, or file and row, as faults name them."""
    json: bytes


def parse_source(text: str, formats: Collection[str], default: str) -> Source:
    """The source that `text` names, in the format `default` where it names none.

    Raises RecordError, with what is allowed.
    """
    first, colon, rest = text.partition(":")
    named = bool(colon) and first in formats
    chosen, place = (first, rest) if named else (default, text)
    if colon and not named and first != HUB and not Path(text).exists():
        known = ", ".join(formats)
        raise RecordError([f"{text}: is no file, and {first!r} no format; known are {known}"])
    if not place.startswith(f"{HUB}:"):
        return Source(chosen, place)
    name, *more = place.removeprefix(f"{HUB}:").split(":")
    if name.count("/") != 1 or len(more) > 2:
        raise RecordError([f"{place}: is not of the form {HUB}:OWNER/NAME[:CONFIG[:SPLIT]]"])
    config, split = (*more, "", "")[:2]
    return Source(chosen, name, True, config or None, split or DEFAULT_SPLIT)


def rows(source: Source, limit: int | None = None) -> Iterator[Row]:
    """The source's rows in order, at most `limit`; what lies behind them is not read.

    Blank lines are skipped. Raises RecordError if the source cannot be opened or read.
    """
    yield from islice(_hub(source) if source.hub else _file(source.place), limit)


def _hub(source: Source) -> Iterator[Row]:
    stream = _load(source.name, source.place, name=source.config, split=source.split)
    return _numbered(source.name, stream)


def _file(place: str) -> Iterator[Row]:
    path = Path(place)
    if not path.is_file():
        raise RecordError([f"{path}: cannot be read (there is no such file)"])
    ending = (path.with_suffix("") if path.suffix in _COMPRESSED else path).suffix
    if ending in _TABLES:
        return _numbered(place, _load(place, _TABLES[ending], data_files=place, split="train"))
    if ending in _LINES:
        return _json(place)
    known = ", ".join([*_LINES, *_TABLES])
    raise RecordError([f"{path}: {ending!r} is not a known kind of file; known are {known}"])


def _json(place: str) -> Iterator[Row]:
    lines = enumerate(_text(place, "line"), start=1)
    first = next((line for _, line in lines if line.strip()), b"")
    if first.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        yield from _array(place, b"".join(_text(place, "document")))
        return
    for number, line in enumerate(_text(place, "line"), start=1):
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if line.strip():
            yield Row(f"{place}:{number}", line)


def _text(place: str, sample_by: str) -> Iterator[bytes]:
    # Latin-1 gives every byte back as it was, so that faults of encoding have a line too.
    options = {"encoding": "latin-1", "sample_by": sample_by}
    for row in _load(place, "text", data_files=place, split="train", **options):
        yield row["text"].encode("latin-1")


def _array(place: str, data: bytes) -> Iterator[Row]:
    try:
        items = json.loads(data.decode("utf-8-sig"))
    except ValueError as error:
        raise RecordError([f"{place}: is not a JSON array ({error})"]) from error
    for number, item in enumerate(items, start=1):
        yield Row(f"{place}, item {number}", _as_json(item))


def _numbered(name: str, stream: Iterator[dict[str, Any]]) -> Iterator[Row]:
    for number, fields in enumerate(stream, start=1):
        yield Row(f"{name}, row {number}", _as_json(fields))


def _as_json(value: object) -> bytes:
    # What JSON has no type for (a date, say) is in no field that is read.
    return json.dumps(value, ensure_ascii=False, default=str).encode()


def _load(label: str, *arguments: str, **options: Any) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset

    try:
        yield from load_dataset(*arguments, streaming=True, **options)
    except Exception as error:  # the library's readers and the network raise what they like
        raise RecordError([f"{label}: cannot be read ({error})"]) from error
