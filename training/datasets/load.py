"""Records from sources: all of them, or every fault with its place and nothing."""

from collections.abc import Collection, Iterable, Iterator

from training.datasets.formats import RECORD_FORMATS
from training.datasets.sources import Source, parse_source, rows
from training.datasets.triples import TRIPLE_FORMATS, Reader
from training.records import Purpose, Record, RecordError

FORMATS = (*RECORD_FORMATS, *TRIPLE_FORMATS)
"""What a source may name; the first, our own JSON lines, where it names none."""


SOURCES_HELP = (
    f"[FORMAT:]FILE or [FORMAT:]hub:OWNER/NAME[:CONFIG[:SPLIT]]; formats: {', '.join(FORMATS)}"
)


def load_records(
    sources: Iterable[str],
    purpose: Purpose = "calibration",
    categories: Collection[str] | None = None,
    limit: int | None = None,
    default: str = FORMATS[0],
) -> list[Record]:
    """The records of several sources (see `training.datasets.sources`), in their order.

    categories: the known ones; None takes any. limit: of rows per source.
    default: the format of a source that names none.
    Raises RecordError with the faults of all sources.
    """
    records: list[Record] = []
    faults: list[str] = []
    for text in sources:
        try:
            records.extend(stream_records(text, purpose, categories, limit, default))
        except RecordError as error:
            faults.extend(error.faults)
    if faults:
        raise RecordError(faults)
    return records


def load_triples(sources: Iterable[str], limit: int | None = None) -> list[Record]:
    """As `load_records`, of sources that hold nothing but triples."""
    records = load_records(sources, "training", limit=limit)
    others = sum(record.harmful is None for record in records)
    if others:
        raise RecordError([f"{others} of {len(records)} records are no triples: without `harmful`"])
    return records


def stream_records(
    text: str,
    purpose: Purpose = "calibration",
    categories: Collection[str] | None = None,
    limit: int | None = None,
    default: str = FORMATS[0],
) -> Iterator[Record]:
    """The records of one source, one by one, for what does not fit into memory.

    Raises RecordError with every fault behind the last row, also when there was no record: what
    came until then must not be kept.
    """
    source = parse_source(text, FORMATS, default)
    read = _reader(source)
    count = 0
    faults: list[str] = []
    for row in rows(source, limit):
        try:
            found = list(read(row.json))
            of_row = [fault for record in found for fault in record.faults(purpose, categories)]
        except RecordError as error:
            found, of_row = [], list(error.faults)
        faults.extend(f"{row.place}: {fault}" for fault in of_row)
        if not of_row:
            count += len(found)
            yield from found
    if not count and not faults:
        faults.append(f"{source.name}: holds no records")
    if faults:
        raise RecordError(faults)


def _reader(source: Source) -> Reader:
    if source.format in TRIPLE_FORMATS:
        return TRIPLE_FORMATS[source.format]()
    read = RECORD_FORMATS[source.format]
    return lambda line: [read(line)]
