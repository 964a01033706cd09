"""The processes of a run: one, or those that `accelerate launch` starts."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from training.work_folder import RunError

if TYPE_CHECKING:
    from accelerate.state import PartialState

PATIENCE = timedelta(hours=2)
"""How long the others wait while the main process reads a base model and writes the start."""


def is_main() -> bool:
    """Whether this process is the one that writes and speaks."""
    return os.environ.get("RANK", "0") == "0"


def join() -> "PartialState":
    """The place of this process among those of the run; the first call waits for the others.

    Not to be kept: the trainer makes the state anew.
    Raises RunError where each of several processes would believe itself alone.
    """
    # Only now: this import takes seconds.
    from accelerate.state import PartialState

    # Only the launcher says whether to keep to the CPU.
    cpu = os.environ.get("ACCELERATE_USE_CPU", "false").lower() == "true"
    here = PartialState(cpu=cpu, timeout=PATIENCE)
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if here.num_processes != started:
        raise RunError(
            f"{started} processes were started, which do not find each other: without GPUs, set"
            " ACCELERATE_USE_CPU=true in the environment"
        )
    return here
