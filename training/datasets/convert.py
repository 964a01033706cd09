"""`demur-train convert`: public datasets made into our JSON lines, divided by a fixed hash."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from training.datasets.load import stream_records
from training.datasets.split import SPLITS, prompt_key, split_of
from training.records import Message, Record, RecordError, format_record

REFUSALS = {
    "humanizing": "I am a language model: I have no feelings, body or life of my own.",
    "incomplete": "I cannot answer that without more information.",
    "indeterminate": "There is no known answer to that question.",
    "safety": "I am sorry, but I cannot help with that.",
    "unsupported": "I am a text model and cannot do that.",
}
"""What `fill` gives a prompt to be refused that comes without an answer."""
REFUSAL = "I am sorry, but I cannot answer that."
"""The same for other categories."""

CONTRAST = "contrast: "
"""What a look-alike's label begins with."""
UNANSWERED = "without an answer"
REPEATED = "repeated"


def convert(
    sources: Sequence[str], output: Path, *, fill: bool = False, limit: int | None = None
) -> Counter[tuple[str, str]]:
    """Write the sources' records into `output`/train.jsonl, calibration.jsonl and test.jsonl.

    Records stream through, so a source may be larger than memory; either all three files are
    replaced or, after RecordError with every fault, none. Prompts that came before, however they
    are cased or punctuated, are left out, and so are training prompts without an answer.
    fill: give refusals without an answer one of REFUSALS.
    Returns the number of records by (split or why it was left out, label).
    """
    output.mkdir(parents=True, exist_ok=True)
    parts = {name: output / f"{name}.jsonl.part" for name in SPLITS}
    counts: Counter[tuple[str, str]] = Counter()
    faults: list[str] = []
    try:
        with ExitStack() as stack:
            files = {
                name: stack.enter_context(part.open("w", encoding="utf-8", newline="\n"))
                for name, part in parts.items()
            }
            records = _all(sources, limit, faults)
            for place, record in _placed(map(_filled, records) if fill else records):
                counts[place, label_of(record)] += 1
                if place in files:
                    files[place].write(format_record(record) + "\n")
        if faults:
            raise RecordError(faults)
        for name, part in parts.items():
            part.replace(output / f"{name}.jsonl")
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return counts


def label_of(record: Record) -> str:
    """How tables call the record's label: a category, `triple: ` and it, `contrast: `, `comply`."""
    if record.harmful is not None:
        return f"triple: {record.category}"
    if record.contrast_of is not None:
        return f"{CONTRAST}{record.contrast_of}"
    return record.category or "comply"


def _all(sources: Iterable[str], limit: int | None, faults: list[str]) -> Iterator[Record]:
    """The records of all sources; their faults go into `faults`."""
    for text in sources:
        try:
            yield from stream_records(text, limit=limit)
        except RecordError as error:
            faults.extend(error.faults)


def _placed(records: Iterable[Record]) -> Iterator[tuple[str, Record]]:
    """Each record with its split, or why it is left out."""
    seen: set[int] = set()  # hashes, since the prompts of a large source are larger than memory
    for record in records:
        key = hash(prompt_key(record))
        split = split_of(record)
        if key in seen:
            yield REPEATED, record
        elif split == "train" and record.messages[-1].role != "assistant":
            yield UNANSWERED, record
        else:
            seen.add(key)
            yield split, record


def _filled(record: Record) -> Record:
    if record.category is None or record.messages[-1].role == "assistant":
        return record
    refusal = Message("assistant", REFUSALS.get(record.category, REFUSAL))
    return replace(record, messages=(*record.messages, refusal))
