"""Demur's own flags beside those of `vllm serve`.

Imports nothing heavy: `demur-serve --help` answers at once.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from steering.manifest import RefusalText

MAX_BODY_MIB = 4.0
"""Some 128k tokens of text and as much again; the worst such body takes some seconds to check."""
BODY_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Sample:
    """Which prompts are looked at, for drift and rates."""

    share: float
    """Of the prompts, 0 to 1."""
    pause_s: float = 0.0
    """Behind each, in which none is."""


SPARING = Sample(0.05, 10)
"""Unless the operator says otherwise. A prompt that is looked at costs the engine a token, and
another one for each category that is unlikely: a busy server learns no less from fewer of them."""


def add_flags(add: Callable[..., Any]) -> None:
    """Add them; `add`: the `add_argument` of a parser, or of a group of one."""
    add(
        "--refusal-policy",
        type=Path,
        metavar="FILE",
        help="default rates and bounds, for everybody and by API key (YAML); a changed file is"
        " read again at SIGHUP",
    )
    add(
        "--refusal-text",
        choices=get_args(RefusalText),
        help="whose words a refusal has where a request does not say: the model's own, or a"
        " template's, for the price of one token (default: generated, or template where the model"
        " was not trained to write refusals)",
    )
    add(
        "--refusal-templates",
        type=Path,
        metavar="FILE",
        help="the templates, by language and category (YAML), instead of the checkpoint's; a"
        " changed file is read again at SIGHUP",
    )
    add(
        "--mirror-refusals",
        action="store_true",
        help="put a refusal's text into content too, for clients that drop `refusal`",
    )
    add(
        "--content-filter-results",
        action="store_true",
        help="each choice also says what was filtered, in Azure OpenAI's shape",
    )
    add(
        "--score-sample",
        type=sample,
        default=SPARING,
        metavar="SHARE",
        help="share of the prompts whose scores are looked at, for the drift and rates in"
        f" /metrics (default: {SPARING.share}, but at most one prompt in {SPARING.pause_s:g}"
        " seconds)",
    )
    add(
        "--request-log",
        type=Path,
        metavar="FILE",
        help="write a line of JSON for each request, without its messages; - is standard output",
    )
    add(
        "--request-log-prompts",
        action="store_true",
        help="put each request's messages into its line of --request-log, too",
    )
    add(
        "--max-body-mib",
        type=positive,
        default=MAX_BODY_MIB,
        metavar="MIB",
        help="largest body of a request; more is a 413 (default: %(default)g)",
    )
    add(
        "--body-timeout",
        type=positive,
        default=BODY_TIMEOUT_S,
        metavar="S",
        help="seconds within which a body must arrive, else a 408 (default: %(default)g)",
    )
    add(
        "--no-playground",
        dest="playground",
        action="store_false",
        help="do not serve the playground, a page at /",
    )


def sample(text: str) -> Sample:
    """A share between 0 and 1; raises argparse.ArgumentTypeError."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return Sample(value)


def positive(text: str) -> float:
    """A number above 0, and finite; raises argparse.ArgumentTypeError."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
