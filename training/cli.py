"""`demur-train`: train a checkpoint by a recipe, and look at the data first."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from steering.tokens import TokenizerMismatchError
from training.check import add_check, add_convert, check, convert_sources
from training.config import Recipe
from training.errors import TrainingError
from training.processes import is_main
from training.recipes import RECIPES, RecipeError, find, override, settings
from training.threads import wait_without_spinning

INTERRUPTED = 130
"""The shell's exit code for a command that Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's). Returns the exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("training").setLevel(logging.INFO if is_main() else logging.WARNING)
    try:
        return _COMMANDS[arguments.command](arguments)
    except RecipeError as error:
        _say(f"demur-train: error: {error}", sys.stderr)
        return 2
    except (TrainingError, TokenizerMismatchError) as error:
        _say(f"demur-train: error: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="demur-train", description="Train a checkpoint whose refusals have a dial."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="train by a recipe",
        description="Train a checkpoint by a recipe. An interrupted run goes on when the same"
        " command is given again.",
    )
    run.add_argument("recipe", metavar="RECIPE", help=f"one of: {', '.join(RECIPES)}")
    run.add_argument(
        "--output", type=Path, metavar="DIR", help="folder of the checkpoint; not for --dry-run"
    )
    run.add_argument(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting of the recipe; `demur-train recipes` lists them",
    )
    run.add_argument("--seed", type=_seed, metavar="N", help="seed of data, weights and order")
    run.add_argument("--force", action="store_true", help="replace a finished checkpoint")
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="print examples, steps, tokens and memory, and train nothing",
    )
    commands.add_parser("recipes", help="list the recipes and their settings")
    add_check(
        commands.add_parser(
            "check",
            help="count records; find duplicates and leakage",
            description="Count records by label and length, find duplicates and prompts that leak"
            " from one split into another. Exits with 1 if any leaks, or a record is faulty.",
        )
    )
    add_convert(
        commands.add_parser(
            "convert",
            help="make our JSON lines from public datasets",
            description="Write train.jsonl, calibration.jsonl and test.jsonl, divided by a fixed"
            " hash of the prompt.",
        )
    )
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _list_recipes(_: argparse.Namespace) -> int:
    for make in RECIPES.values():
        recipe = make()
        print(f"{recipe.name}: {recipe.summary}")
        for key, value in settings(recipe):
            print(f"  {key}={value}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    recipe = override(find(arguments.recipe), arguments.assignments)
    if arguments.seed is not None:
        recipe = recipe.model_copy(update={"seed": arguments.seed})
    if arguments.output is None and not arguments.dry_run:
        raise RecipeError("--output is missing: the folder of the checkpoint, or --dry-run")
    wait_without_spinning()
    # Only now: this import takes seconds.
    from training.loading import quiet

    quiet()
    if arguments.dry_run:
        return _dry_run(recipe)
    return _train(recipe, arguments.output, arguments.force)


def _dry_run(recipe: Recipe) -> int:
    from training.plan import plan

    for line in plan(recipe):
        _say(line)
    return 0


def _train(recipe: Recipe, output: Path, force: bool) -> int:
    from training.export import CALIBRATION_PROMPTS
    from training.run import train
    from training.work_folder import is_finished

    if is_finished(output) and not force:
        _say(f"{output} holds a finished checkpoint already; --force trains it anew.")
        return 0
    train(recipe, output, force=force)
    if recipe.methods.tokens == "none":
        _say(f"{output} is finished: a baseline without control tokens, not to be served.")
        return 0
    _say(f"{output} is finished. Calibrate it next:")
    _say(f"  demur-calibrate {output} {output / CALIBRATION_PROMPTS}")
    return 0


def _say(line: str, to: TextIO | None = None) -> None:
    """Print a line, once where several processes run."""
    if is_main():
        print(line, file=to)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "recipes": _list_recipes,
    "check": check,
    "convert": convert_sources,
}


if __name__ == "__main__":
    sys.exit(main())
