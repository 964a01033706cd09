"""`demur-calibrate`: score held-out prompts and write the calibration into a checkpoint."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from steering.fingerprint import FingerprintError, fingerprint
from steering.intact import DamagedError, check_intact
from steering.manifest import CALIBRATION_FOLDER, Calibration, Manifest, ManifestError, Scope
from training.arguments import BATCH_SIZE, DTYPES, MAX_TOKENS, positive
from training.calibration_files import write_calibration
from training.datasets.load import SOURCES_HELP
from training.errors import TrainingError
from training.evaluation.target import SERVER_KEY
from training.labelled import read_prompts, score
from training.records import Record
from training.scorer import Scorer, TransformersScorer
from training.storage import storing
from training.threads import wait_without_spinning

if TYPE_CHECKING:
    from steering.calibration import CalibrationScores

REPORT_FOLDER = f"{CALIBRATION_FOLDER}/report"
"""In the checkpoint, unless another folder is named."""


class CalibrateError(TrainingError):
    """The checkpoint cannot be calibrated as asked."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's). Returns the exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("training").setLevel(logging.INFO)
    wait_without_spinning()
    try:
        if arguments.traffic is None:
            _calibrate(arguments)
        else:
            _steer_traffic(arguments)
    except (TrainingError, DamagedError, FingerprintError, ManifestError) as error:
        print(f"demur-calibrate: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; no scores were written.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="demur-calibrate",
        description="Score held-out prompts, so that the checkpoint can be served by rates, and"
        " write a report; or find thresholds for unlabelled traffic (--traffic).",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="its folder")
    parser.add_argument(
        "prompts",
        nargs="+",
        metavar="PROMPTS",
        help="records with `messages` and `category`, of which an answer at the end is left out:"
        f" {SOURCES_HELP}",
    )
    parser.add_argument(
        "--traffic",
        type=_share,
        metavar="SHARE",
        help="take the prompts as traffic without labels, and print the thresholds that refuse"
        " this share of all of it, 0.02 for 2%%; nothing is written",
    )
    parser.add_argument(
        "--server",
        metavar="URL",
        help="have a running demur-serve, which serves this checkpoint, score the prompts:"
        f" http://HOST:PORT/v1; its key: {SERVER_KEY}",
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=BATCH_SIZE,
        metavar="N",
        help="prompts at a time; default: %(default)s",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default=DTYPES[0],
        help="of weights and activations, as they will be served; default: %(default)s; a"
        " --server has its own",
    )
    parser.add_argument(
        "--answer-tokens",
        type=positive,
        default=MAX_TOKENS,
        metavar="N",
        help="length of the answers that are scored for the scope of every token, where the"
        " checkpoint has it; default: %(default)s",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help=f"folder of the report; default: {REPORT_FOLDER} in the checkpoint",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace the calibration that is there"
    )
    return parser


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and up to 1")
    return share


def _calibrate(arguments: argparse.Namespace) -> None:
    checkpoint: Path = arguments.checkpoint
    manifest = _manifest(checkpoint)
    if manifest.calibration is not None and not arguments.force:
        raise CalibrateError(
            f"{checkpoint} is calibrated already, {_described(manifest.calibration)}; --force"
            " replaces these scores and their report"
        )
    records = read_prompts(arguments.prompts, manifest.names)
    for name in manifest.names:
        if not any(record.category == name for record in records):
            print(
                f"demur-calibrate: warning: category {name!r} has no prompts: it can be served"
                " by a threshold, not by a rate",
                file=sys.stderr,
            )
    weights = fingerprint(checkpoint)
    scorer = _scorer(arguments, manifest, manifest.scopes)
    by_scope = {scope: score(scorer, manifest, records, scope) for scope in manifest.scopes}
    scored = by_scope[manifest.scopes[0]]
    calibration = Calibration(
        engine=scorer.engine,
        dtype=scorer.dtype,
        prompts=scored.counts(),
        shapes=scored.shape_counts(),
        weights=weights,
    )
    with storing(checkpoint, "The checkpoint is as it was: run the same command again."):
        write_calibration(checkpoint, manifest, calibration, by_scope)
    _show(
        arguments.report or checkpoint / REPORT_FOLDER, checkpoint, calibration, by_scope, records
    )


def _show(
    folder: Path,
    checkpoint: Path,
    calibration: Calibration,
    by_scope: "dict[Scope, CalibrationScores]",
    records: Sequence[Record],
) -> None:
    """Print the table of every scope, and write its report."""
    # Only now: these imports take seconds.
    from training.report import write_report
    from training.table import table

    for scope, scores in by_scope.items():
        if len(by_scope) > 1:
            print(f"{scope}:")
        print("\n".join(table(scores, records)))
        try:
            path = write_report(folder, checkpoint.resolve().name, scope, calibration, scores)
        except OSError as error:
            raise CalibrateError(
                f"the calibration is written, but its report cannot be ({error})"
            ) from error
        print(f"report: {path}")


def _steer_traffic(arguments: argparse.Namespace) -> None:
    """Print the thresholds that refuse a share of unlabelled traffic."""
    from training.traffic import read_traffic, threshold_for

    manifest = _manifest(arguments.checkpoint)
    records = read_traffic(arguments.prompts)
    scorer = _scorer(arguments, manifest, ("first_token",))
    scores = scorer.score([record.prompt for record in records], "first_token")
    found = threshold_for(scores, arguments.traffic)
    interval = found.interval
    print(
        f"{found.refused} of {found.prompts} prompts are refused,"
        f" {found.refused / found.prompts:.2%}; of new traffic like it {interval.low:.2%} to"
        f" {interval.high:.2%}. In a request:",
        file=sys.stderr,
    )
    print(found.settings(manifest.names))


def _manifest(checkpoint: Path) -> Manifest:
    if not checkpoint.is_dir():
        raise CalibrateError(f"{checkpoint} is not a folder")
    manifest = Manifest.load(checkpoint)
    if not manifest.scopes:
        raise CalibrateError(f"{checkpoint} has no trained control tokens: nothing to calibrate")
    check_intact(checkpoint)
    return manifest


def _scorer(arguments: argparse.Namespace, manifest: Manifest, scopes: Sequence[Scope]) -> Scorer:
    if arguments.server is not None:
        # Only now: OpenAI's client takes a second.
        from training.evaluation.pool import Pool
        from training.server_scorer import ServerScorer

        logging.getLogger("httpx").setLevel(logging.WARNING)
        pool = Pool.of(arguments.server, SERVER_KEY, arguments.batch_size)
        return ServerScorer(pool, manifest, scopes)
    return TransformersScorer(
        arguments.checkpoint,
        manifest,
        arguments.dtype,
        batch_size=arguments.batch_size,
        answer_tokens=arguments.answer_tokens,
    )


def _described(calibration: Calibration) -> str:
    counts = ", ".join(f"{label} {count}" for label, count in calibration.prompts.items())
    return (
        f"by {calibration.engine} in {calibration.dtype} on"
        f" {sum(calibration.prompts.values())} prompts ({counts})"
    )


if __name__ == "__main__":
    sys.exit(main())
