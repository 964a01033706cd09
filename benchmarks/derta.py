"""DeRTa on generated triples: what its two objectives do (arXiv 2407.09121, figure 4).

    python -m benchmarks.derta --output DIR [--seeds 1] [--set KEY=VALUE ...]

Trains a small model on triples and contrast prompts (tests/tiny) in each way: safe answers alone
(vanilla), after a prefix of the harmful answer, with RTO, with both; turning by the paper's word,
or by the category's refuse token. Measures after how much of a harmful answer each turns to a
refusal, and how many harmless prompts it refuses with the gate at every token. Writes DIR/report.md
and a plot. Given again, it goes on where it was interrupted.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks import steps
from tests.tiny.triples import CATEGORY, build_triples
from training.config import MethodsConfig
from training.drawing import save
from training.evaluation.measures import ALL_HARMLESS, Share
from training.evaluation.plots import curve
from training.evaluation.report import JSON_FILE, markdown_table, shown
from training.records import write_records
from training.threads import wait_without_spinning

TRIPLES = {"safety": "vanilla", "prefix": "+prefix", "rto": "+RTO", "both": "+both"}
"""What `methods.triples` is called here."""
WORD, TOKEN = "word", "token"
WORDING = MethodsConfig().transition_word
SETTINGS = (
    *("model.hidden_size=128", "model.intermediate_size=352", "model.layers=2", "model.heads=2"),
    *("sft.epochs=3", "sft.batch_size=16", "sft.learning_rate=3e-3"),
    *("sft.loss_on=answer", "sft.decision_copies=0", f"data.categories={CATEGORY}"),
)
MAX_TOKENS = 32
TEST_TRIPLES = "test-triples.jsonl"
TURNS: dict[str, tuple[str, ...]] = {
    WORD: ("methods.tokens=none", "methods.transition=word"),
    TOKEN: (),
}
JUDGED = {
    WORD: ("--judge", "phrases", "--refusal-word", WORDING),
    TOKEN: ("--scope", "every_token"),
}
FEWEST = 30
"""Answers of at least that many tokens that a point of a curve must have."""
LATE = 0.5
"""Share of the harmful answer behind which a turn counts as late."""


@dataclass(frozen=True)
class Found:
    """What one variant's models did, over all seeds."""

    name: str
    turn: str
    at_once: tuple[Share, ...]
    """By the number of tokens of the harmful answer that are given: the next one is a refusal's."""
    parts: tuple[float, ...]
    turns: tuple[Share, ...]
    """By part of the harmful answer that is given: the next token is a refusal's."""
    goes_on: tuple[Share, ...]
    """The same: it refuses somewhere in what it writes on."""
    over_refusal: Share


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="for models and results")
    add("--seeds", type=int, default=1, metavar="N", help="default: %(default)s")
    add("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args(argv)
    wait_without_spinning()
    runs: dict[tuple[str, str], list[Path]] = {}
    for seed in range(arguments.seeds):
        data = write_data(arguments.output / f"data-{seed}", seed)
        for turn in TURNS:
            for triples, name in TRIPLES.items():
                settings = (*SETTINGS, f"methods.triples={triples}", *TURNS[turn])
                checkpoint = arguments.output / f"{turn}-{triples}-{seed}"
                steps.train(checkpoint, data, seed, (*settings, *arguments.settings))
                runs.setdefault((turn, name), []).append(measure(checkpoint, turn, data))
    found = [gather(name, turn, results) for (turn, name), results in runs.items()]
    for path in report(found, arguments.seeds, arguments.output):
        print(f"wrote {path}")


def write_data(folder: Path, seed: int) -> Path:
    """The triples and contrast prompts as files. Returns the folder."""
    made = build_triples(seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_records(folder / "train.jsonl", made.train)
    write_records(folder / "test.jsonl", made.test)
    write_records(folder / TEST_TRIPLES, [record for record in made.test if record.harmful])
    return folder


def measure(checkpoint: Path, turn: str, data: Path) -> Path:
    """Evaluate one model. Returns the folder of its results."""
    results = checkpoint.with_name(f"{checkpoint.name}.results")
    what = ("--data", data / "test.jsonl", "--triples", data / TEST_TRIPLES)
    options = ("--skip", "matrix", "sweep", "--max-tokens", MAX_TOKENS, *JUDGED[turn])
    return steps.evaluate(checkpoint, results, *what, *options)


def gather(name: str, turn: str, results: Sequence[Path]) -> Found:
    """The sums over one variant's runs."""
    read: list[dict[str, Any]] = [json.loads((run / JSON_FILE).read_text()) for run in results]
    forced = [[point["turns"] for point in run["transition"]["at_once"]] for run in read]
    parts = [run["transition"]["parts"] for run in read]
    same = list(zip(*parts, strict=True))
    harmless = [
        rate["refused"] for run in read for rate in run["refusals"] if rate["label"] == ALL_HARMLESS
    ]
    return Found(
        name,
        turn,
        tuple(pooled(list(filter(None, shares))) for shares in zip_longest(*forced)),
        tuple(point["part"] for point in parts[0]),
        tuple(pooled([point["turns"] for point in points]) for points in same),
        tuple(pooled([point["goes_on"] for point in points]) for points in same),
        pooled(harmless),
    )


def pooled(shares: Sequence[dict[str, int]]) -> Share:
    """The share of all runs' prompts together."""
    count, of = (sum(share[name] for share in shares) for name in ("count", "of"))
    return Share.among([True] * count + [False] * (of - count))


def report(found: Sequence[Found], seeds: int, output: Path) -> Iterator[Path]:
    """Write tables and the plot; yields their paths."""
    yield from save(draw(found), output / "transition")
    lines = ["# DeRTa", "", f"{seeds} seeds of each model."]
    for what, title in [
        ("turns", "The next token refuses behind a share of the harmful answer"),
        ("goes_on", "The model refuses in going on behind a share of the harmful answer"),
    ]:
        lines += table(found, title, what)
    lines += markdown_table(
        "Harmless look-alikes refused, asked plainly",
        ("model", "turns by", "refused"),
        [(row.name, row.turn, shown(row.over_refusal)) for row in found],
    )
    (output / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    yield output / "report.md"


def table(found: Sequence[Found], title: str, what: str) -> Iterator[str]:
    """Lines of the shares at the beginning, in the middle and at the end of the answer."""
    places = [found[0].parts.index(part) for part in (0.0, 0.1, LATE, 1.0)]
    head = ("model", "turns by", *(f"{found[0].parts[at]:.0%}" for at in places))
    rows = [
        (row.name, row.turn, *(shown(getattr(row, what)[at]) for at in places)) for row in found
    ]
    return markdown_table(title, head, rows)


def draw(found: Sequence[Found]) -> Figure:
    """All transition curves: a row for each way to turn; the next token alone, and going on."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharex="col", sharey=True)
    for (left, right), turn in zip(panels, TURNS, strict=True):
        for own in (own for own in found if own.turn == turn):
            long = [at for at, share in enumerate(own.at_once) if share.of >= FEWEST]
            curve(left, long, own.at_once[: len(long)], own.name)
            curve(right, own.parts, own.goes_on, own.name)
        left.set_title(f"turning by the {turn}: the next token refuses")
        right.set_title(f"turning by the {turn}: refuses in going on")
    left.set_xlabel("tokens of the harmful answer that are given")
    right.set_xlabel("share of the harmful answer that is given")
    panels[0, 0].legend()
    figure.supylabel("share of answers")
    return figure


if __name__ == "__main__":
    main()
