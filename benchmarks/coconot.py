"""Refusal Tokens on CoCoNot: a token per category, one shared token, no tokens (arXiv 2412.06748).

    python -m benchmarks.coconot DATA --output DIR [--seeds 3] [--set KEY=VALUE ...]

DATA holds CoCoNot's refuse.jsonl and comply.jsonl. Divides them by the fixed hash, trains a model
of each kind, of 2.9 million parameters, from every seed, calibrates and evaluates it, and writes
DIR/comparison.md, DIR/steering.md and their plots. Given again, it goes on where it was
interrupted.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import steps
from training.categories import COCONOT
from training.datasets.convert import REFUSALS
from training.drawing import save
from training.evaluation import plots
from training.evaluation.dials import Turned
from training.evaluation.measures import Rate, Share
from training.evaluation.report import JSON_FILE, matrix_table
from training.evaluation.side_by_side import write_comparison
from training.threads import wait_without_spinning

WITHOUT = "none"
VARIANTS = {
    "category": (),
    "shared": ("methods.tokens=shared",),
    WITHOUT: ("methods.tokens=none", "methods.transition=word"),
}
SETTINGS = (
    *("model.hidden_size=256", "model.intermediate_size=704", "model.layers=3", "model.heads=4"),
    *("sft.epochs=8", "sft.batch_size=16", "sft.learning_rate=2e-3", "sft.max_length=48"),
    *("sft.loss_on=answer", "sft.decision_copies=0", f"data.categories={','.join(COCONOT)}"),
)
"""The same examples for all; copies of the decision would be some that a model without it lacks."""
WORDS = 5
"""Of each filled-in refusal, from which a model without tokens is seen to refuse."""
STEERED = ("category", "shared")


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="folder of refuse.jsonl and comply.jsonl")
    add("--output", type=Path, required=True, metavar="DIR", help="for models and results")
    add("--seeds", type=int, default=3, metavar="N", help="default: %(default)s")
    add("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args(argv)
    wait_without_spinning()
    data = arguments.output / "data"
    steps.convert([f"coconot:{arguments.data / part}.jsonl" for part in ("refuse", "comply")], data)
    found: dict[str, list[Path]] = {name: [] for name in VARIANTS}
    for seed in range(arguments.seeds):
        for name in VARIANTS:
            settings = (*SETTINGS, *VARIANTS[name], *arguments.settings)
            found[name].append(one(arguments.output / f"{name}-{seed}", name, seed, data, settings))
    for path in report(found, arguments.output):
        print(f"wrote {path}")


def one(checkpoint: Path, name: str, seed: int, data: Path, settings: Sequence[str]) -> Path:
    """Train, calibrate and evaluate one model. Returns the folder of its results."""
    steps.train(checkpoint, data, seed, settings)
    judge: list[str] = []
    if name == WITHOUT:
        judge = ["--judge", "phrases", *(w for text in openings() for w in ("--phrase", text))]
    else:
        steps.calibrate(checkpoint)
    results = checkpoint.with_name(f"{checkpoint.name}.results")
    return steps.evaluate(checkpoint, results, "--data", data / "test.jsonl", *judge)


def openings() -> list[str]:
    """What the filled-in refusals begin with."""
    return [" ".join(text.split()[:WORDS]).rstrip(".,:") for text in REFUSALS.values()]


def pooled(runs: Sequence[Path]) -> list[Turned]:
    """The steering matrix of all runs together; shares without intervals."""
    matrices = [json.loads((run / JSON_FILE).read_text())["matrix"] for run in runs]
    return [
        Turned(
            rows[0]["category"],
            rows[0]["threshold"],
            tuple(
                Rate(rates[0]["label"], rates[0]["kind"], _sum([r["refused"] for r in rates]))
                for rates in zip(*(row["rates"] for row in rows), strict=True)
            ),
        )
        for rows in zip(*matrices, strict=True)
    ]


def _sum(shares: Sequence[dict[str, int]]) -> Share:
    count, of = (sum(share[name] for share in shares) for name in ("count", "of"))
    return Share(count, of, count / of, None, None)


def report(found: dict[str, list[Path]], output: Path) -> Iterator[Path]:
    """Write tables and plots; yields their paths."""
    _, paths = write_comparison(found, output)
    yield from paths
    lines = []
    for name in STEERED:
        matrix = pooled(found[name])
        lines += [f"# {name}", *matrix_table(matrix), ""]
        yield from save(plots.matrix(matrix), output / f"matrix-{name}")
    (output / "steering.md").write_text("\n".join(lines), encoding="utf-8")
    yield output / "steering.md"


if __name__ == "__main__":
    main()
