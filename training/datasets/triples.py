"""Triples for DeRTa: a harmful query with a safe and a harmful answer (arXiv 2407.09121).

A source is written as in `training.datasets.sources`; its format is one of `TRIPLE_FORMATS`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from training.datasets.formats import SAFETY, parse
from training.datasets.sources import parse_source, rows
from training.records import RecordError


class Triple(NamedTuple):
    """A query, how it should be answered, and how it must not be."""

    query: str
    safe: str
    harmful: str
    category: str


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TripleRow(_Row):
    """Our own: one triple."""

    query: str
    safe: str
    harmful: str
    category: str = SAFETY


class DertaRow(_Row):
    """The DeRTa authors' training data."""

    instruction: str
    output: str
    safe_response: str


class SaferlhfRow(_Row):
    """PKU-SafeRLHF (arXiv 2406.15513): two answers to a prompt, each judged."""

    prompt: str
    response_0: str
    response_1: str
    is_response_0_safe: bool
    is_response_1_safe: bool


class BeavertailsRow(_Row):
    """BeaverTails (arXiv 2307.04657): one answer to a prompt, judged; prompts come many times."""

    prompt: str
    response: str
    is_safe: bool


class _Pairs:
    """Joins judged answers to the same prompt: the first safe one with the first harmful one."""

    def __init__(self) -> None:
        self._first: dict[str, dict[bool, str]] = {}

    def add(self, line: bytes) -> Iterator[Triple]:
        """The triple that this row completes, if it does."""
        row = parse(BeavertailsRow, line)
        answers = self._first.setdefault(row.prompt, {})
        if row.is_safe not in answers:
            answers[row.is_safe] = row.response
            if len(answers) == 2:
                yield Triple(row.prompt, answers[True], answers[False], SAFETY)


def _own(line: bytes) -> Iterator[Triple]:
    row = parse(TripleRow, line)
    yield Triple(row.query, row.safe, row.harmful, row.category)


def _derta(line: bytes) -> Iterator[Triple]:
    row = parse(DertaRow, line)
    yield Triple(row.instruction, row.safe_response, row.output, SAFETY)


def _saferlhf(line: bytes) -> Iterator[Triple]:
    """A triple where exactly one of the answers is safe; nothing elsewhere."""
    row = parse(SaferlhfRow, line)
    if row.is_response_0_safe == row.is_response_1_safe:
        return
    safe, harmful = row.response_0, row.response_1
    if row.is_response_1_safe:
        safe, harmful = harmful, safe
    yield Triple(row.prompt, safe, harmful, SAFETY)


Reader = Callable[[bytes], Iterator[Triple]]
TRIPLE_FORMATS: dict[str, Callable[[], Reader]] = {
    "triples": lambda: _own,
    "derta": lambda: _derta,
    "saferlhf": lambda: _saferlhf,
    "beavertails": lambda: _Pairs().add,
}
"""Each makes a reader for one source (one that joins rows keeps them); the first is our own."""


def load_triples(sources: Iterable[str], limit: int | None = None) -> list[Triple]:
    """The triples of several sources, in their order.

    limit: of rows per source. Raises RecordError with the faults of all of them.
    """
    triples: list[Triple] = []
    faults: list[str] = []
    for text in sources:
        try:
            triples.extend(_load(text, limit))
        except RecordError as error:
            faults.extend(error.faults)
    if faults:
        raise RecordError(faults)
    return triples


def _load(text: str, limit: int | None) -> list[Triple]:
    source = parse_source(text, TRIPLE_FORMATS)
    reader = TRIPLE_FORMATS[source.format]()
    triples: list[Triple] = []
    faults: list[str] = []
    for row in rows(source, limit):
        try:
            found = list(reader(row.json))
            of_row = [fault for triple in found for fault in _faults(triple)]
        except RecordError as error:
            found, of_row = [], list(error.faults)
        triples.extend(found)
        faults.extend(f"{row.place}: {fault}" for fault in of_row)
    if not triples and not faults:
        faults.append(f"{source.name}: holds no triples")
    if faults:
        raise RecordError(faults)
    return triples


def _faults(triple: Triple) -> list[str]:
    fields = triple._asdict().items()
    return [f"{field}: is empty" for field, text in fields if not text.strip()]
