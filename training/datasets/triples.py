"""The layouts of datasets of triples: a query with a safe and a harmful answer, for DeRTa.

A reader takes a source's rows one by one and gives the records that each completes: some rows are
no triple, and some datasets hold the two answers in rows apart.
"""

from collections.abc import Callable, Iterable, Iterator

from training.datasets.formats import SAFETY, Row
from training.records import Message, Record, parse_line

Reader = Callable[[bytes], Iterable[Record]]


class DertaRow(Row):
    """The DeRTa authors' training data (arXiv 2407.09121)."""

    instruction: str
    output: str
    safe_response: str


class SaferlhfRow(Row):
    """PKU-SafeRLHF (arXiv 2406.15513): two answers to a prompt, each judged."""

    prompt: str
    response_0: str
    response_1: str
    is_response_0_safe: bool
    is_response_1_safe: bool


class BeavertailsRow(Row):
    """BeaverTails (arXiv 2307.04657): one answer to a prompt, judged; prompts come many times."""

    prompt: str
    response: str
    is_safe: bool


def derta(line: bytes) -> Iterator[Record]:
    """A triple."""
    row = parse_line(DertaRow.model_validate_json, line)
    yield _triple(row.instruction, row.safe_response, row.output)


def saferlhf(line: bytes) -> Iterator[Record]:
    """A triple where exactly one of the answers is safe; nothing elsewhere."""
    row = parse_line(SaferlhfRow.model_validate_json, line)
    if row.is_response_0_safe == row.is_response_1_safe:
        return
    safe, harmful = row.response_0, row.response_1
    if row.is_response_1_safe:
        safe, harmful = harmful, safe
    yield _triple(row.prompt, safe, harmful)


class Beavertails:
    """Joins answers to the same prompt: the first safe one with the first harmful one."""

    def __init__(self) -> None:
        self._first: dict[str, dict[bool, str]] = {}

    def __call__(self, line: bytes) -> Iterator[Record]:
        """The triple that this row completes, if it does."""
        row = parse_line(BeavertailsRow.model_validate_json, line)
        answers = self._first.setdefault(row.prompt, {})
        if row.is_safe not in answers:
            answers[row.is_safe] = row.response
            if len(answers) == 2:
                yield _triple(row.prompt, answers[True], answers[False])


TRIPLE_FORMATS: dict[str, Callable[[], Reader]] = {
    "derta": lambda: derta,
    "saferlhf": lambda: saferlhf,
    "beavertails": Beavertails,
}
"""By the name that a source gives, what makes a reader for one source."""


def _triple(query: str, safe: str, harmful: str) -> Record:
    return Record((Message("user", query), Message("assistant", safe)), SAFETY, harmful=harmful)
