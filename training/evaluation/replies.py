"""What every prompt came back with, as JSON lines: to look closer, and to compare models."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from training.evaluation.measures import Pairs
from training.evaluation.target import EvalError, Reply
from training.records import Record, format_record, parse_record

REPLIES_FILE = "replies.jsonl"


def write_replies(pairs: Pairs, folder: Path) -> Path:
    """Write records with their replies into `folder`, one pair a line. Returns the path."""
    path = folder / REPLIES_FILE
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record, reply in pairs:
            line = {"record": json.loads(format_record(record)), "reply": asdict(reply)}
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def read_replies(folder: Path) -> Pairs:
    """The records and replies of one evaluation. Raises EvalError if they cannot be read."""
    path = folder / REPLIES_FILE
    try:
        return list(_read(path))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise EvalError(f"{path}: is no file of replies that demur-eval wrote ({error})") from error


def _read(path: Path) -> Iterator[tuple[Record, Reply]]:
    with path.open(encoding="utf-8") as file:
        for line in map(json.loads, file):
            scores = line["reply"].pop("scores")
            reply = Reply(**line["reply"], scores=None if scores is None else tuple(scores))
            yield parse_record(json.dumps(line["record"]).encode()), reply
