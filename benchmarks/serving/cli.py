"""The command line of `make bench`; imports nothing heavy, so that --help answers at once."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from benchmarks.checkpoint import DEFAULT, add_checkpoint
from benchmarks.serving.arms import ARMS, IN_SHARED, MANY, NAMES
from benchmarks.serving.cells import Load

DESCRIPTION = """\
Servers side by side under vLLM's own load generator: stock vLLM, Demur, a guard model. Every
repetition starts each arm's server by itself; every second one goes backwards (ABBA). With
--together a repetition's servers are all up, and each load goes from arm to arm: what a noisy
machine calls for, if its memory holds them. With --shared one server is stock vLLM and Demur in
turn, on the same engine. A server's figures (with either a repetition's) are kept once they are
whole; --resume goes on behind them. Writes runs.jsonl, summary.json, report.md and plots into the
output's folder."""


@dataclass(frozen=True)
class Options:
    """What the command line says; its defaults."""

    load: Load = field(default_factory=Load)
    arms: tuple[str, ...] = NAMES
    repetitions: int = 5
    servers: int = 3
    """Of arm f."""
    checkpoint: Path = Path(DEFAULT)
    layers: int | None = None
    """Of a copy of the checkpoint that writes the same and is served in its place."""
    output: Path = Path("build/bench")
    together: bool = False
    """Whether the arms' servers are up at the same time, one of them under load."""
    shared: bool = False
    """Whether one server is all arms in turn."""
    rounds: int = 1
    """How often each server is put under each load."""
    resume: bool = False

    @property
    def under_load(self) -> list[str]:
        """The arms that are put under load, in their order."""
        return [name for name in ARMS if name in self.arms]

    @property
    def many(self) -> bool:
        """Whether several servers are started at once, for their memory."""
        return MANY in self.arms

    def fixed(self) -> dict[str, Any]:
        """What must be the same in runs whose figures are put together."""
        load = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.load).items()
        }
        own = {name: getattr(self, name) for name in ("layers", "together", "shared", "rounds")}
        return load | own


def options(argv: Sequence[str] | None = None) -> Options:
    """Parse the command line."""
    default = Options()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=DESCRIPTION)
    add = parser.add_argument
    add(
        "--arms",
        nargs="+",
        choices=NAMES,
        metavar="ARM",
        help="; ".join(f"{name}: {arm.title}" for name, arm in ARMS.items())
        + f"; {MANY}: one stock server per refusal setting, for memory"
        f" (default: all; with --shared {' '.join(IN_SHARED)})",
    )
    add(
        "--repetitions",
        type=_positive,
        default=default.repetitions,
        metavar="N",
        help="default: %(default)s",
    )
    add(
        "--concurrency",
        type=_positive,
        nargs="+",
        default=default.load.concurrency,
        metavar="N",
        help="requests at once (default: 1 8 32)",
    )
    add(
        "--shares",
        type=float,
        nargs="*",
        default=default.load.shares,
        metavar="SHARE",
        help="shares of the saturation's request rate (default: 0.5 0.8)",
    )
    add(
        "--requests",
        type=_positive,
        default=default.load.requests,
        metavar="N",
        help="of each load; a sixth of it one at a time (default: %(default)s)",
    )
    add(
        "--tokens",
        type=_positive,
        default=default.load.tokens,
        metavar="N",
        help="of each answer (default: %(default)s)",
    )
    add(
        "--servers",
        type=_positive,
        default=default.servers,
        metavar="N",
        help=f"of arm {MANY} (default: %(default)s)",
    )
    add_checkpoint(parser)
    add(
        "--layers",
        type=_positive,
        default=default.layers,
        metavar="N",
        help="serve a copy of the checkpoint with so many layers, of which those added pass on what"
        " they get: a larger model's steps, and the same answers (default: as it is)",
    )
    add("--output", type=Path, default=default.output, metavar="DIR", help="default: %(default)s")
    add(
        "--together",
        action="store_true",
        help="keep the arms' servers up at the same time, and put each load on one after the other",
    )
    add(
        "--shared",
        action="store_true",
        help="both front ends in one process, on one engine, whose gate goes in and out",
    )
    add(
        "--rounds",
        type=_positive,
        default=default.rounds,
        metavar="N",
        help="how often each server is put under each load (default: %(default)s)",
    )
    add("--resume", action="store_true", help="go on behind what the output's folder holds")
    parsed = vars(parser.parse_args(argv))
    possible = IN_SHARED if parsed["shared"] else NAMES
    parsed["arms"] = tuple(parsed["arms"] or possible)
    if not {*parsed["arms"]} <= {*possible}:
        parser.error(f"--shared is for the arms {', '.join(IN_SHARED)}")
    load = {each.name: parsed.pop(each.name) for each in fields(Load)}
    load |= {name: tuple(load[name]) for name in ("concurrency", "shares")}
    return Options(load=Load(**load), **parsed)


def _positive(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return number
