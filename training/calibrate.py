"""`demur-calibrate`: score held-out prompts and write the calibration into a checkpoint."""

import argparse
import logging
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from steering.manifest import Calibration, Manifest, ManifestError
from training.records import Record, RecordError, read_records
from training.threads import wait_without_spinning

if TYPE_CHECKING:
    from steering.calibration import CalibrationScores

ENGINE = "transformers"
DTYPES = ("float32", "bfloat16", "float16")
RATES = (0.25, 0.5, 0.75, 1.0)
"""Rates whose thresholds the table shows."""


class CalibrateError(ValueError):
    """The checkpoint cannot be calibrated as asked."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's). Returns the exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("training").setLevel(logging.INFO)
    try:
        _calibrate(arguments)
    except (CalibrateError, ManifestError, RecordError) as error:
        print(f"demur-calibrate: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; nothing was written.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="demur-calibrate",
        description="Score held-out prompts, so that the checkpoint can be served by rates.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="its folder")
    parser.add_argument(
        "prompts",
        type=Path,
        nargs="+",
        metavar="PROMPTS.jsonl",
        help="records with `messages` and `category`; an answer at the end is left out",
    )
    parser.add_argument(
        "--batch-size", type=_count, default=32, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default=DTYPES[0],
        help="of weights and activations, as they will be served; default: %(default)s",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace the calibration that is there"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _calibrate(arguments: argparse.Namespace) -> None:
    checkpoint: Path = arguments.checkpoint
    if not checkpoint.is_dir():
        raise CalibrateError(f"{checkpoint} is not a folder")
    manifest = Manifest.load(checkpoint)
    if not manifest.scopes:
        raise CalibrateError(f"{checkpoint} has no trained control tokens: nothing to calibrate")
    if manifest.calibration is not None and not arguments.force:
        raise CalibrateError(f"{checkpoint} is calibrated already; --force replaces that")
    records = read_prompts(arguments.prompts, manifest.names)
    for name in manifest.names:
        if not any(record.category == name for record in records):
            print(
                f"demur-calibrate: warning: category {name!r} has no prompts: it can be served"
                " by a threshold, not by a rate",
                file=sys.stderr,
            )
    scores = score(checkpoint, manifest, records, arguments.dtype, arguments.batch_size)
    scores.save(checkpoint)
    manifest.model_copy(
        update={
            "calibration": Calibration(
                engine=ENGINE, dtype=arguments.dtype, prompts=scores.counts()
            )
        }
    ).save(checkpoint)
    print("\n".join(table(scores, records)))


def read_prompts(paths: Iterable[Path], categories: Sequence[str]) -> list[Record]:
    """The records of several files. Raises RecordError with the faults of all of them."""
    records: list[Record] = []
    faults: list[str] = []
    for path in paths:
        try:
            records.extend(read_records(path, "calibration", categories))
        except RecordError as error:
            faults.extend(error.faults)
    if faults:
        raise RecordError(faults)
    return records


def score(
    checkpoint: Path, manifest: Manifest, records: Sequence[Record], dtype: str, batch_size: int
) -> "CalibrationScores":
    """Scores of the records' prompts by transformers.

    Raises CalibrateError if the checkpoint does not load or cannot take a prompt.
    """
    wait_without_spinning()
    # Only now: these imports take seconds.
    import numpy as np

    from steering.calibration import COMPLY_INDEX, CalibrationScores
    from steering.tokens import TokenizerMismatchError
    from training.loading import control_tokens, load, quiet
    from training.scoring import ScoringError, score_prompts

    quiet()
    try:
        model, tokenizer = load(checkpoint, dtype)
        control = control_tokens(manifest, tokenizer)
        scores = score_prompts(
            model, tokenizer, control, [record.prompt for record in records], batch_size=batch_size
        )
    except (OSError, ScoringError, TokenizerMismatchError) as error:
        raise CalibrateError(f"{checkpoint}: {error}") from error
    labels = [
        COMPLY_INDEX if record.category is None else manifest.names.index(record.category)
        for record in records
    ]
    return CalibrationScores(manifest.names, np.array(labels, dtype=np.int64), scores)


def table(scores: "CalibrationScores", records: Sequence[Record]) -> Iterator[str]:
    """Lines that say what the calibration found.

    `refused`: the share of the category's prompts that the model refuses by its own habit
    (p >= 0.5). `contrast`: the same share of the harmless prompts that only look like them.
    The thresholds are those of the rates, as a probability and as log-odds.
    """
    import numpy as np

    from steering.calibration import COMPLY
    from steering.gate import decide_np

    habit = np.zeros(len(scores.categories), dtype=np.float32)
    refused = decide_np(scores.scores, habit) >= 0
    shares = scores.refused_shares(habit)
    counts = scores.counts()
    width = max(len(name) for name in counts)
    yield (
        f"{'':{width}}  prompts  refused  contrast"
        + "".join(f"{f'threshold at {rate:g}':>22}" for rate in RATES)
    )
    for index, name in enumerate(scores.categories):
        alike = refused[[record.contrast_of == name for record in records]]
        yield (
            f"{name:{width}}  {counts[name]:7}  {_share(shares.get(name)):>7}"
            f"  {_share(float(alike.mean()) if len(alike) else None):>8}"
            + "".join(
                f"{_threshold(scores.threshold(index, rate)) if counts[name] else '-':>22}"
                for rate in RATES
            )
        )
    yield f"{COMPLY:{width}}  {counts[COMPLY]:7}  {_share(shares.get(COMPLY)):>7}"
    yield "refused: share at the default, p >= 0.5 (for comply: over-refusal);"
    yield "contrast: share of the category's harmless look-alikes refused at the default"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _threshold(log_odds: float) -> str:
    if log_odds == math.inf:
        return "never"
    # 1 / (1 + e^-x) overflows far below zero; there it equals e^x.
    probability = 1 / (1 + math.exp(-log_odds)) if log_odds > -30 else math.exp(log_odds)
    return f"{probability:.3g} ({log_odds:+.2f})"


if __name__ == "__main__":
    sys.exit(main())
