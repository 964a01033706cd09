"""Requested against realised rates, through a running server, on prompts that nobody calibrated on.

    python -m benchmarks.rates http://127.0.0.1:8000/v1 CHECKPOINT --data test.jsonl

Every decision is the running gate's (a dry run). For rates from 0.1 to 0.9: all categories set at
once, each category by itself, and, all at once again, by each category's own quantile, which is
what joint solving is measured against. A cell lies inside if its share is in the exact 95% interval
for so many new prompts; a star marks one that does not. Then budgets on over-refusal, on harmless
prompts; and the drift of samples of the same prompts, mixed as in the calibration and otherwise.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from steering.budget import spend
from steering.calibration import COMPLY, CalibrationScores
from steering.drift import compare
from steering.intervals import Interval, category_intervals, over_refusal_interval
from steering.joint import Asked, Joint, JointSolver
from steering.manifest import Manifest
from steering.settings import probability_of
from training.datasets.load import load_records
from training.evaluation.pool import Pool
from training.evaluation.target import SERVER_KEY
from training.records import Record

RATES = tuple(step / 10 for step in range(1, 10))
BUDGETS = (0.01, 0.05, 0.1)
REPETITIONS = 20
DRAWN = 200
"""Prompts in each sample that is looked at for drift."""


@dataclass(frozen=True)
class Cell:
    """One category at one rate."""

    category: str
    rate: float
    realised: float
    interval: Interval

    @property
    def inside(self) -> bool:
        """Whether the share is one that chance explains."""
        return self.realised in self.interval


class Bench:
    """A running server, the checkpoint that it serves, and test prompts."""

    def __init__(self, pool: Pool, checkpoint: Path, records: Sequence[Record]) -> None:
        self._pool = pool
        self._model = pool.model()
        self.names = Manifest.load(checkpoint).names
        self.scores = CalibrationScores.load(checkpoint, self.names)
        self.solver = JointSolver(self.scores)
        self._records = records

    def of(self, category: str | None) -> list[Record]:
        """Test prompts of a category; None for harmless ones."""
        return [record for record in self._records if record.category == category]

    def details(
        self, records: Sequence[Record], label: str, **settings: object
    ) -> list[dict[str, Any]]:
        """What the gate decides for each prompt. Raises ValueError if one is turned down."""
        bodies: list[dict[str, object]] = [
            {
                "model": self._model,
                **prompt.fields(),
                "extra_body": {"dry_run": True, **settings},
            }
            for prompt in (record.prompt for record in records)
        ]
        found = []
        for answer in self._pool.ask(bodies, label):
            if isinstance(answer, str):
                raise ValueError(answer)
            found.append(answer.choices[0].refusal_details)  # type: ignore[attr-defined]
        return found

    def share(self, records: Sequence[Record], label: str, **settings: object) -> float:
        """Share of the prompts that is refused, under whichever name."""
        found = self.details(records, label, **settings)
        return sum(bool(each["refused"]) for each in found) / len(found)

    def cells(self, rate: float, joint: Joint, settings: dict[str, object]) -> list[Cell]:
        """Every category at one rate; joint: what the settings come to on the calibration."""
        found = []
        for index, name in enumerate(self.names):
            records = self.of(name)
            interval = category_intervals(joint, new=len(records))[index]
            realised = self.share(records, f"{name} at {rate:g}", **settings)
            found.append(Cell(name, rate, realised, interval))
        return found


def together(bench: Bench) -> list[Cell]:
    """All categories at one rate, solved jointly."""
    return [
        cell
        for rate in RATES
        for cell in bench.cells(
            rate,
            bench.solver.solve(Asked([rate] * len(bench.names), [0] * len(bench.names))),
            {"refusal_rates": rate},
        )
    ]


def by_quantile(bench: Bench) -> list[Cell]:
    """All categories at one rate, each at its own quantile."""
    found = []
    for rate in RATES:
        own = [bench.scores.threshold(index, rate) for index in range(len(bench.names))]
        thresholds = dict(zip(bench.names, map(probability_of, own), strict=True))
        joint = bench.solver.solve(Asked([rate] * len(bench.names), own))
        found += bench.cells(rate, joint, {"refusal_thresholds": thresholds})
    return found


def alone(bench: Bench) -> list[Cell]:
    """Each category at a rate, the others at the model's own habit."""
    found = []
    for index, name in enumerate(bench.names):
        records = bench.of(name)
        for rate in RATES:
            rates: list[float | None] = [None] * len(bench.names)
            rates[index] = rate
            joint = bench.solver.solve(Asked(rates, [0] * len(bench.names)))
            realised = bench.share(records, f"{name} at {rate:g}", refusal_rates={name: rate})
            interval = category_intervals(joint, new=len(records))[index]
            found.append(Cell(name, rate, realised, interval))
    return found


def table(title: str, names: Sequence[str], cells: Sequence[Cell]) -> list[str]:
    """Realised shares by category and rate; a star where one lies outside its interval."""
    rows = [f"### {title}", "", "| asked | " + " | ".join(f"{rate:g}" for rate in RATES) + " |"]
    rows.append("| --- " * (len(RATES) + 1) + "|")
    for name in names:
        own = [cell for cell in cells if cell.category == name]
        shown = [f"{cell.realised:.2f}{'' if cell.inside else '*'}" for cell in own]
        rows.append(f"| {name} | " + " | ".join(shown) + " |")
    inside = sum(cell.inside for cell in cells)
    error = np.mean([abs(cell.realised - cell.rate) for cell in cells])
    rows += [
        "",
        f"{inside} of {len(cells)} cells ({inside / len(cells):.1%}) inside their exact 95%"
        f" interval; mean absolute error {error:.3f}.",
        "",
    ]
    return rows


def budgets(bench: Bench) -> list[str]:
    """Harmless test prompts that are refused at each budget."""
    harmless, count = bench.of(None), len(bench.names)
    rows = ["### Budgets on over-refusal", ""]
    rows += ["| budget | rate | on the calibration | on new prompts | 95% interval |"]
    rows += ["| --- " * 5 + "|"]
    for budget in BUDGETS:
        rest = Asked([None] * count, [0.0] * count)
        spent = spend(bench.solver, budget, range(count), rest)
        interval = over_refusal_interval(spent.joint, new=len(harmless))
        realised = bench.share(harmless, f"budget {budget:g}", over_refusal_budget=budget)
        rows.append(
            f"| {budget:.0%} | {spent.rate:.3f} | {spent.joint.over_refusal or 0:.1%} |"
            f" {realised:.1%}{'' if realised in interval else '*'} |"
            f" {interval.low:.1%} to {interval.high:.1%} |"
        )
    return [*rows, ""]


def drift(bench: Bench) -> list[str]:
    """Alarms on samples of the test prompts, mixed as in the calibration and otherwise."""
    chance = np.random.default_rng(0)
    labels = [*bench.names, None]
    scored = {label: _log_odds(bench, label) for label in labels}
    counts = bench.scores.counts()
    mix = np.array([counts[label or COMPLY] for label in labels], dtype=np.float64)
    shifted = np.append(np.zeros(len(bench.names)), 1.0)
    rows = ["### Drift", ""]
    for name, weights in (("mixed as in the calibration", mix), ("harmless only", shifted)):
        alarms, highest = 0, 0.0
        for _ in range(REPETITIONS):
            drawn = chance.multinomial(DRAWN, weights / weights.sum())
            live = np.concatenate(
                [
                    own[chance.choice(len(own), size=number)]
                    for own, number in zip(scored.values(), drawn, strict=True)
                ]
            )
            found = compare(bench.names, bench.scores.scores, live)
            alarms += any(each.alarm for each in found)
            highest = max(highest, *(each.index for each in found))
        rows.append(
            f"- {DRAWN} prompts, {name}: an alarm in {alarms} of {REPETITIONS} repetitions; highest"
            f" index {highest:.2f}, limit {found[0].limit:.2f}"
        )
    return [*rows, ""]


def _log_odds(bench: Bench, category: str | None) -> npt.NDArray[np.float32]:
    found = bench.details(bench.of(category), f"scores, {category}", refusal_scores=True)
    return np.array([[each["log_odds"][name] for name in bench.names] for each in found], "f4")


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description="Requested against realised rates.")
    parser.add_argument("url", metavar="URL", help=f"http://HOST:PORT/v1; its key: {SERVER_KEY}")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="what it serves")
    parser.add_argument("--data", nargs="+", required=True, metavar="SOURCE", help="test prompts")
    parser.add_argument("--concurrency", type=int, default=32, metavar="N")
    arguments = parser.parse_args()
    names = Manifest.load(arguments.checkpoint).names
    records = load_records(arguments.data, categories=names)
    pool = Pool.of(arguments.url, SERVER_KEY, arguments.concurrency)
    bench = Bench(pool, arguments.checkpoint, records)
    counts = ", ".join(f"{name} {len(bench.of(name))}" for name in names)
    print(f"Test prompts: {counts}, {COMPLY} {len(bench.of(None))}\n")
    for title, cells in (
        ("All at once, solved jointly", together(bench)),
        ("Each category by itself, the others at the model's habit", alone(bench)),
        ("All at once, each at its own quantile", by_quantile(bench)),
    ):
        print("\n".join(table(title, names, cells)))
    print("\n".join([*budgets(bench), *drift(bench)]))


if __name__ == "__main__":
    main()
