"""`demur-train check` and `demur-train convert`: look at data before training on it."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from training.arguments import positive
from training.datasets.convert import REPEATED, UNANSWERED, convert
from training.datasets.load import SOURCES_HELP, load_records
from training.datasets.split import SPLITS
from training.datasets.statistics import Repeated, Statistics, characters, count
from training.errors import TrainingError
from training.records import Record, RecordError

SHOWN = 5
"""Examples shown of prompts that leak."""
WIDEST = 72
"""Characters of such an example."""
MAX_LENGTH = 1024
"""Tokens, where a tokenizer but no limit is given."""


class CheckError(TrainingError):
    """The data cannot be counted as asked."""


def add_check(parser: argparse.ArgumentParser) -> None:
    """The arguments of `check`."""
    parser.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help="a folder with train.jsonl, calibration.jsonl and test.jsonl, or [SPLIT=]SOURCE; a"
        f" source is {SOURCES_HELP}",
    )
    parser.add_argument(
        "--tokenizer", type=Path, metavar="DIR", help="count in tokens of this model folder"
    )
    parser.add_argument(
        "--max-length",
        type=positive,
        metavar="N",
        help=f"tokens from which on training cuts; default with a tokenizer: {MAX_LENGTH}",
    )
    parser.add_argument(
        "--picture", type=Path, metavar="STEM", help="write STEM.png and STEM.svg too"
    )


def add_convert(parser: argparse.ArgumentParser) -> None:
    """The arguments of `convert`."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=SOURCES_HELP)
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the three files"
    )
    parser.add_argument(
        "--fill-refusals",
        action="store_true",
        help="give prompts to refuse that have no answer a short refusal of their category",
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="read the first N rows of each source only"
    )


def check(arguments: argparse.Namespace) -> int:
    """Print the statistics of the data, and draw them. Returns 1 if prompts leak, else 0.

    Raises RecordError with every fault of the data.
    """
    splits = read_splits(arguments.data)
    limit = arguments.max_length
    if arguments.tokenizer is None:
        statistics = count(splits, characters, "characters")
    else:
        statistics = count(splits, token_lengths(arguments.tokenizer), "tokens")
        limit = limit or MAX_LENGTH
    print("\n".join(table(statistics, limit)))
    if arguments.picture is not None:
        # Only now: matplotlib takes a second.
        from training.datasets.picture import draw
        from training.drawing import save

        arguments.picture.parent.mkdir(parents=True, exist_ok=True)
        for path in save(draw(statistics, limit), arguments.picture):
            print(f"wrote {path}")
    return 1 if any(statistics.leaks().values()) else 0


def convert_sources(arguments: argparse.Namespace) -> int:
    """Write our JSON lines, and say how many. Raises RecordError with every fault."""
    counts = convert(
        arguments.sources,
        arguments.output,
        fill=arguments.fill_refusals,
        limit=arguments.limit,
    )
    columns = (*SPLITS, UNANSWERED, REPEATED)
    labels = sorted({label for _, label in counts})
    width = max(map(len, labels), default=0)
    print(f"{'':{width}}" + "".join(f"{name:>20}" for name in columns))
    for label in labels:
        print(f"{label:{width}}" + "".join(f"{counts[name, label]:20}" for name in columns))
    print(f"wrote {', '.join(f'{name}.jsonl' for name in SPLITS)} to {arguments.output}")
    return 0


def read_splits(data: Sequence[str]) -> dict[str, list[Record]]:
    """Records by split, in the order of SPLITS. Raises RecordError with the faults of all."""
    sources: dict[str, list[str]] = {name: [] for name in SPLITS}
    faults: list[str] = []
    for text in data:
        if Path(text).is_dir():
            found = {name: Path(text, f"{name}.jsonl") for name in SPLITS}
            # Of few records `convert` may give a split none.
            held = {
                name: str(path)
                for name, path in found.items()
                if path.is_file() and path.stat().st_size
            }
            if not held:
                faults.append(f"{text}: holds none of {', '.join(p.name for p in found.values())}")
            for name, path in held.items():
                sources[name].append(path)
            continue
        name, equals, source = text.partition("=")
        named = bool(equals) and name in SPLITS
        sources[name if named else SPLITS[0]].append(source if named else text)
    splits = {}
    for name in SPLITS:
        try:
            splits[name] = load_records(sources[name])
        except RecordError as error:
            faults.extend(error.faults)
    if faults:
        raise RecordError(faults)
    return {name: records for name, records in splits.items() if records}


def token_lengths(folder: Path) -> Callable[[Record], int]:
    """Counts a record's tokens as training encodes it, its control token included.

    Of a triple the longer of its answers counts. Raises CheckError if the folder has no tokenizer;
    counting raises EncodingError where its chat template does not take a conversation.
    """
    from transformers import AutoTokenizer

    from training.rendering import render

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckError(f"--tokenizer {folder}: {error}") from error

    def length(record: Record) -> int:
        if record.harmful is not None:
            return max(length(replace(record, harmful=None)), length(record.harmfully_answered))
        answered = record.messages[-1].role == "assistant"
        text = render(tokenizer, record.conversation, answered=answered)
        return len(tokenizer.encode(text, add_special_tokens=False)) + 1

    return length


def table(statistics: Statistics, limit: int | None) -> Iterator[str]:
    """Lines that show the statistics."""
    splits = list(statistics.counts)
    width = max(20, *(len(label) for label in statistics.labels))

    def line(name: str, values: Sequence[object]) -> str:
        return f"{name:{width}}" + "".join(f"{value!s:>14}" for value in values)

    yield line("", splits)
    for label in statistics.labels:
        yield line(label, [statistics.counts[split].get(label, 0) for split in splits])
    yield line("all", [sum(statistics.counts[split].values()) for split in splits])
    shares = [statistics.contrast_share(split) for split in splits]
    yield line("contrast share", ["-" if share is None else f"{share:.1%}" for share in shares])
    lengths = [statistics.lengths[split] for split in splits]
    yield line(f"median {statistics.unit}", [round(median(own)) for own in lengths])
    yield line(f"most {statistics.unit}", [max(own) for own in lengths])
    if limit is not None:
        cut = [statistics.longer_than(limit, split) for split in splits]
        yield line(f"longer than {limit}", cut)
    yield line("repeated prompts", [statistics.duplicates(split) for split in splits])
    for (one, other), leaked in statistics.leaks().items():
        if leaked:
            yield f"LEAKAGE: {_count(leaked)} of {one} also in {other}{_examples(leaked)}"
    if contradictory := statistics.contradictions():
        yield f"CONTRADICTION: {_count(contradictory)} with several labels" + _examples(
            contradictory
        )
    yield "contrast share: look-alikes among the harmless; a prompt is repeated or leaked even if"
    yield "case, punctuation or spacing differ"


def _count(prompts: Sequence[Repeated]) -> str:
    return f"{len(prompts)} prompt{'' if len(prompts) == 1 else 's'}"


def _examples(prompts: Sequence[Repeated]) -> str:
    return "".join(f"\n  {prompt.prompt[:WIDEST]!r}" for prompt in prompts[:SHOWN])
