"""`demur-eval`: measure the refusals of a running server, or of a checkpoint."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from training.arguments import BATCH_SIZE, DTYPES, MAX_TOKENS, positive, repeated
from training.datasets.load import SOURCES_HELP
from training.errors import TrainingError
from training.evaluation.target import SERVER_KEY, Dial, EvalError
from training.threads import wait_without_spinning

if TYPE_CHECKING:
    from training.evaluation.judges import Judge
    from training.evaluation.target import Target

TOKEN, PHRASES, MODEL = "token", "phrases", "model"
JUDGE_KEY = "DEMUR_JUDGE_API_KEY"
"""Environment variable with the key of the judge's endpoint."""


class UsageError(TrainingError):
    """The command line asks for what does not go together."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's). Returns the exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("training").setLevel(logging.INFO)
    # The client's own log has a line for every request.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    wait_without_spinning()
    try:
        _check(arguments)
        return _evaluate(arguments)
    except UsageError as error:
        print(f"demur-eval: error: {error}", file=sys.stderr)
        return 2
    except TrainingError as error:
        print(f"demur-eval: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; nothing was written.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="demur-eval",
        description="Measure how often a running server or a checkpoint refuses what it should,"
        " and what it should not. docs/evaluation.md explains every measure.",
    )
    add = parser.add_argument
    add(
        "target", metavar="TARGET",
        help=f"URL of a server (http://HOST:PORT/v1; its key: {SERVER_KEY}), or a folder",
    )  # fmt: skip
    add("--output", type=Path, required=True, metavar="DIR", help="for results.json, .md, plots")
    add("--data", nargs="+", default=[], metavar="SOURCE", help=f"prompts; {SOURCES_HELP}")
    add("--attacks", nargs="+", type=Path, default=[], metavar="FILE", help="attack prompts")
    add(
        "--raw-attacks", nargs="+", type=Path, default=[], metavar="FILE",
        help="attack prompts for a checkpoint without its chat template, as CompletingAttack's",
    )  # fmt: skip
    add(
        "--triples", nargs="+", default=[], metavar="SOURCE",
        help="records with a harmful answer, for the transition curve of a checkpoint",
    )  # fmt: skip
    add("--limit", type=positive, metavar="N", help="read the first N rows of each source only")
    add("--skip", nargs="+", choices=("matrix", "sweep"), default=[], help="do not measure these")
    _add_dial(parser.add_argument_group("the dial while measuring; the default where not given"))
    _add_judge(parser.add_argument_group("how a refusal is told"))
    _add_asking(parser.add_argument_group("how the target is asked"))
    return parser


def _add_dial(group: "argparse._ArgumentGroup") -> None:
    for name, what in [("rate", "refusal rate"), ("threshold", "threshold, as a probability,")]:
        group.add_argument(
            f"--{name}", action="append", type=_setting, default=[], metavar="CATEGORY=VALUE",
            help=f"{what} of a category; may be given again",
        )  # fmt: skip
    group.add_argument(
        "--scope", choices=("first_token", "every_token"),
        help="where an answer may be refused",
    )  # fmt: skip


def _add_judge(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--judge", choices=(TOKEN, PHRASES, MODEL), default=TOKEN)
    group.add_argument(
        "--phrase", action="append", default=[], metavar="TEXT",
        help="what else a refusing sentence begins with, for --judge phrases; may be given again",
    )  # fmt: skip
    group.add_argument("--judge-url", metavar="URL", help=f"its endpoint; key: {JUDGE_KEY}")
    group.add_argument("--judge-model", metavar="NAME", help="default: the one it serves")
    group.add_argument(
        "--refusal-word", action="append", default=[], metavar="WORD",
        help='what refusals begin with in a checkpoint that turns by a word ("Sorry"): --triples',
    )  # fmt: skip


def _add_asking(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--model", metavar="NAME", help="of a server; default: the one it serves")
    group.add_argument(
        "--concurrency", type=positive, default=8, metavar="N",
        help="requests to a server at a time; default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--max-tokens", type=positive, default=MAX_TOKENS, metavar="N",
        help="of an answer, where it is read; default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--batch-size", type=positive, default=BATCH_SIZE, metavar="N",
        help="prompts of a checkpoint at a time; default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--dtype", choices=DTYPES, default=DTYPES[0], help="of a checkpoint; default: %(default)s"
    )


def _setting(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not name or not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not CATEGORY=VALUE, a value from 0 to 1")
    return name, number


def _is_server(arguments: argparse.Namespace) -> bool:
    return str(arguments.target).startswith(("http://", "https://"))


def _check(arguments: argparse.Namespace) -> None:
    if not any((arguments.data, arguments.attacks, arguments.raw_attacks, arguments.triples)):
        raise UsageError("nothing to measure with: give --data, --attacks or --triples")
    for flag, settings in [("--rate", arguments.rate), ("--threshold", arguments.threshold)]:
        if again := repeated([name for name, _ in settings]):
            raise UsageError(f"{flag} is given twice for {again}")
    if arguments.judge == MODEL and not arguments.judge_url:
        raise UsageError("--judge model needs --judge-url")
    if not _is_server(arguments) and not Path(arguments.target).is_dir():
        raise UsageError(f"{arguments.target} is neither a URL nor a folder")


def _evaluate(arguments: argparse.Namespace) -> int:
    # Only now: these imports take seconds.
    from training.datasets.load import load_records, load_triples
    from training.evaluation.attacks import read_attack
    from training.evaluation.report import markdown
    from training.evaluation.run import Plan, evaluate, save

    dial = Dial(dict(arguments.rate), dict(arguments.threshold), arguments.scope)
    plan = Plan(
        records=load_records(arguments.data, limit=arguments.limit),
        data=tuple(arguments.data),
        dial=dial,
        attacks=[
            *(read_attack(path) for path in arguments.attacks),
            *(read_attack(path, raw=True) for path in arguments.raw_attacks),
        ],
        triples=load_triples(arguments.triples, arguments.limit),
        matrix="matrix" not in arguments.skip,
        sweep="sweep" not in arguments.skip,
        words=tuple(arguments.refusal_word),
        max_tokens=arguments.max_tokens,
    )
    judge = _judge(arguments)
    target = _target(arguments, judge, dial)
    if arguments.judge == TOKEN and not target.categories:
        raise EvalError(f"{target.name} has no refusal tokens: choose --judge phrases or model")
    report = evaluate(target, judge, plan)
    print("\n".join(markdown(report)))
    print()
    for path in save(report, arguments.output):
        print(f"wrote {path}")
    return 0


def _judge(arguments: argparse.Namespace) -> "Judge":
    from training.evaluation.judges import ModelJudge, PhraseJudge, TokenJudge

    if arguments.judge == TOKEN:
        return TokenJudge()
    if arguments.judge == PHRASES:
        return PhraseJudge(arguments.phrase)
    from training.evaluation.pool import Pool

    pool = Pool.of(arguments.judge_url, JUDGE_KEY, arguments.concurrency)
    return ModelJudge(pool, arguments.judge_model or pool.model())


def _target(arguments: argparse.Namespace, judge: "Judge", dial: Dial) -> "Target":
    if _is_server(arguments):
        from training.evaluation.pool import Pool
        from training.evaluation.server import ServerTarget

        pool = Pool.of(arguments.target, SERVER_KEY, arguments.concurrency)
        model = arguments.model or pool.model()
        tokens = arguments.max_tokens
        return ServerTarget(pool, model, max_tokens=tokens, writes=judge.reads_text)
    from training.evaluation.checkpoint import CheckpointTarget
    from training.loading import quiet

    quiet()
    try:
        return CheckpointTarget(
            Path(arguments.target),
            dtype=arguments.dtype,
            batch_size=arguments.batch_size,
            max_tokens=arguments.max_tokens,
            writes=judge.reads_text or dial.scope == "every_token",
        )
    except (OSError, ValueError) as error:  # ours, and transformers' for a folder without a model
        raise EvalError(f"{arguments.target}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
