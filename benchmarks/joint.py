"""How long solving thresholds takes: jointly, against each category's quantile by itself.

    python -m benchmarks.joint [--prompts 10000] [--categories 10] [--sizes 1000 10000 100000]

Scores are drawn at random: normal, with a prompt's own category `signal` standard deviations
higher. The quantiles are computed in the same run, turn by turn with what they are compared with,
and against themselves for the noise floor. Every answer is that of a solver which has answered
nothing before: one that has is faster. Medians are shown. The last table has other sizes of the
calibration set.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from steering.budget import spend
from steering.calibration import CalibrationScores
from steering.joint import Asked, JointSolver
from training.evaluation.report import markdown_table

COMPLY_SHARE = 0.4
"""Share of harmless prompts."""
REPEATS = 7
OVERLAPPING = 2.0
"""The weaker signal."""
SIZES = (300, 1_000, 3_000, 10_000, 30_000, 100_000)


def drawn(prompts: int, categories: int, signal: float) -> CalibrationScores:
    """Random scores whose categories overlap the more, the weaker the signal is."""
    chance = np.random.default_rng(0)
    refusable = int(prompts * (1 - COMPLY_SHARE))
    labels = np.full(prompts, -1, dtype=np.int64)
    labels[:refusable] = np.arange(refusable) % categories
    scores = chance.normal(size=(prompts, categories)).astype(np.float32)
    scores[np.arange(refusable), labels[:refusable]] += signal
    return CalibrationScores(tuple(f"c{index}" for index in range(categories)), labels, scores)


def measured(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def medians(*works: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Median seconds of each, called in turn."""
    for work in works:
        work()
    rounds = [[measured(work) for work in works] for _ in range(repeats)]
    return [float(value) for value in np.median(rounds, axis=0)]


def new(scores: CalibrationScores) -> Iterator[JointSolver]:
    """Solvers that have answered nothing, as many as `medians` takes."""
    return iter([JointSolver(scores) for _ in range(1 + REPEATS)])


def compare(name: str, scores: CalibrationScores, rates: list[float]) -> None:
    """Print how long one question takes, by quantiles and jointly."""
    asked, solvers = Asked(rates, [0.0] * len(rates)), new(scores)

    def quantiles() -> list[float]:
        return [scores.threshold(index, rate) for index, rate in enumerate(rates)]

    alone, again, together = medians(quantiles, quantiles, lambda: next(solvers).solve(asked))
    print(name)
    print(f"{'  each by itself, against itself':40}{alone * 1e3:9.2f}{again / alone:9.2f}")
    off_by = max(JointSolver(scores).solve(asked).off_by)
    print(f"{'  jointly':40}{together * 1e3:9.2f}{together / alone:9.2f}{off_by:14.4f}")


def growth(sizes: Sequence[int], categories: int) -> Iterator[tuple[str, ...]]:
    """By the number of prompts: milliseconds of one answer to different rates, and to prepare."""
    for prompts in sizes:
        calibration = drawn(prompts, categories, OVERLAPPING)
        solvers = new(calibration)
        asked = Asked(list(np.linspace(0.5, 0.95, categories)), [0.0] * categories)
        solving, preparing = medians(
            lambda: next(solvers).solve(asked),  # noqa: B023
            partial(JointSolver, calibration),
        )
        yield (str(prompts), f"{solving * 1e3:.2f}", f"{preparing * 1e3:.2f}")


def questions(prompts: int, count: int) -> None:
    """Print what each question takes, for categories that overlap little and much."""
    print(f"{prompts} prompts, {count} categories")
    print(f"{'':40}{'ms':>9}{'ratio':>9}{'worst off by':>14}")
    for signal in (4.0, OVERLAPPING):
        scores = drawn(prompts, count, signal)
        compare(f"signal {signal:g}: all at 0.8", scores, [0.8] * count)
        compare(f"signal {signal:g}: 0.5 to 0.95", scores, list(np.linspace(0.5, 0.95, count)))
        compare(
            f"signal {signal:g}: one at 0.01, the others at 0.95, which cannot be met",
            scores,
            [0.01] + [0.95] * (count - 1),
        )
        habit = Asked([None] * count, [0.0] * count)
        solvers = new(scores)
        (budget,) = medians(lambda: spend(next(solvers), 0.05, range(count), habit))  # noqa: B023
        print(f"signal {signal:g}: a budget of 5% over-refusal\n{'':40}{budget * 1e3:9.2f}")


def main() -> None:
    """Print what each question takes, then how one of them grows with the calibration set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--categories", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, metavar="PROMPTS")
    arguments = parser.parse_args()
    questions(arguments.prompts, arguments.categories)
    title = f"{arguments.categories} categories, rates 0.5 to 0.95, signal {OVERLAPPING:g}; ms"
    head = ("prompts", "solving", "preparing, once")
    print("\n".join(markdown_table(title, head, growth(arguments.sizes, arguments.categories))))


if __name__ == "__main__":
    main()
