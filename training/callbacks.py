"""What happens beside the training steps: saves are marked, metrics written, progress shown."""
# ruff: noqa: ARG002 - the trainer passes every event all of its state.

import json
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from training.processes import join
from training.progress import Progress

COMPLETE = "complete"
"""A file that stands in a save once everything else of it does."""


class MarkComplete(TrainerCallback):
    """Marks a save complete once the trainer has written all of it."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Mark the save that was just written, once every process has written its part."""
        join().wait_for_everyone()
        if not state.is_world_process_zero:
            return
        save = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        (save / COMPLETE).touch()


class MeasureAtEnd(TrainerCallback):
    """Has the last step measured, wherever it falls."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Ask for a measurement after the last step."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = True


class WriteMetrics(TrainerCallback):
    """Writes what is logged to a file of JSON lines, each with its `step` and `epoch`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Begin the file anew: a resumed run repeats the steps behind its save."""
        if state.is_world_process_zero:
            lines = [json.dumps(entry) + "\n" for entry in state.log_history]
            self._path.write_text("".join(lines), encoding="utf-8")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Add the newest entry; other callbacks may have turned the event's own into text."""
        if state.is_world_process_zero:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(state.log_history[-1]) + "\n")


class ShowProgress(TrainerCallback):
    """Shows the steps done and the latest loss."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Begin to show, at the step where a resumed run goes on."""
        if self._progress is None and state.is_world_process_zero:
            self._progress = Progress("training", state.max_steps, done=state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Count the step."""
        if self._progress is not None:
            self._progress.advance()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Show the loss, which the trainer may have formatted as text."""
        if self._progress is not None and logs and "loss" in logs:
            self._progress.show(f"loss {float(logs['loss']):.3f}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave the bar as it stands."""
        if self._progress is not None:
            self._progress.close()
