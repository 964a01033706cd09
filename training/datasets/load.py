"""Records from sources: all of them, or every fault with its place and nothing."""

from collections.abc import Collection, Iterable, Iterator

from training.datasets.formats import FORMATS
from training.datasets.sources import Source, parse_source, rows
from training.records import Purpose, Record, RecordError


def load_records(
    sources: Iterable[str],
    purpose: Purpose = "calibration",
    categories: Collection[str] | None = None,
    limit: int | None = None,
) -> list[Record]:
    """The records of several sources (see `training.datasets.sources`), in their order.

    limit: of rows per source. Raises RecordError with the faults of all of them.
    """
    records: list[Record] = []
    faults: list[str] = []
    for text in sources:
        try:
            records.extend(stream_records(parse_source(text, FORMATS), purpose, categories, limit))
        except RecordError as error:
            faults.extend(error.faults)
    if faults:
        raise RecordError(faults)
    return records


def stream_records(
    source: Source,
    purpose: Purpose = "calibration",
    categories: Collection[str] | None = None,
    limit: int | None = None,
) -> Iterator[Record]:
    """The source's records one by one, for what does not fit into memory.

    Raises RecordError with every fault behind the last row, also when there was no record: what
    came until then must not be kept.
    """
    count = 0
    faults: list[str] = []
    for row in rows(source, limit):
        try:
            record = FORMATS[source.format](row.json)
            of_row = record.faults(purpose, categories)
        except RecordError as error:
            of_row = list(error.faults)
        faults.extend(f"{row.place}: {fault}" for fault in of_row)
        if not of_row:
            count += 1
            yield record
    if not count and not faults:
        faults.append(f"{source.name}: holds no records")
    if faults:
        raise RecordError(faults)
