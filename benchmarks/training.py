"""Training's tokens per second, method by method, against TRL's plain SFT at the same settings.

    python -m benchmarks.training [--records 800] [--repetitions 5] [--set KEY=VALUE ...]

The recipe `tiny` on the records of tests/tiny, triples among them; --set model.hidden_size=256 and
the like make its model larger. Plain SFT is TRL's own trainer on the same records' conversations,
which it tokenizes itself beforehand; it runs twice, for the noise floor. Every run trains from
fresh weights for one epoch; the clock runs from the first step to the last, and counts tokens
without padding. A small run of each trainer comes first, uncounted; every second repetition goes
backwards (ABBA).
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.serving.arms import order
from benchmarks.serving.compare import ratio
from tests.tiny.data import build
from tests.tiny.triples import build_triples
from training import recipes
from training.categories import DESCRIPTIONS, manifest_of
from training.config import Recipe, Splits
from training.evaluation.report import markdown_table
from training.threads import wait_without_spinning

PLAIN, AGAIN = "TRL's plain SFT", "the same again"
METHODS: Mapping[str, tuple[str, ...]] = {
    "refusal tokens by category": ("methods.triples=safety",),
    "one shared refusal token": ("methods.tokens=shared", "methods.triples=safety"),
    "DeRTa, turning by a word": ("methods.tokens=none", "methods.transition=word"),
    "both joined": (),
}
SETTINGS = (
    *("sft.epochs=1", "sft.save_every=1000000"),
    *("sft.loss_on=answer", "sft.decision_copies=0"),
)
"""Plain SFT has neither the prompts' loss nor copies of decisions."""


class Clock:
    """Runs from the first step's beginning to the last step's end."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def start(self) -> None:
        """Begin, unless it has begun."""
        self._start = self._start or time.perf_counter()

    def lap(self) -> None:
        """Take the time so far."""
        self.seconds = time.perf_counter() - self._start


def timer(clock: Clock) -> Any:
    """A callback of transformers' trainer that runs `clock`."""
    from transformers import TrainerCallback

    class Timer(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.start()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.lap()

    return Timer()


def ours(recipe: Recipe, splits: Splits, folder: Path) -> float:
    """Tokens a second of the recipe's methods. splits: the data before methods are applied."""
    from training.examples import build_examples
    from training.loading import load
    from training.methods import apply_methods
    from training.sft import fit
    from training.start import write_start

    splits = apply_methods(recipe.methods, splits, recipe.seed)
    write_start(folder / "start", recipe, splits, folder / "states")
    model, tokenizer = load(folder / "start")
    examples = build_examples(recipe, splits, tokenizer)
    clock = Clock()
    fit(
        model,
        tokenizer,
        examples,
        recipe.sft,
        seed=recipe.seed,
        saves=folder / "saves",
        metrics=folder / "metrics.jsonl",
        callbacks=[timer(clock)],
    )
    return sum(len(example.input_ids) for example in examples.train) / clock.seconds


def plain(recipe: Recipe, splits: Splits, folder: Path) -> float:
    """Tokens a second of TRL's trainer on the same conversations."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from training.loading import load
    from training.start import write_start

    write_start(folder / "start", recipe, splits, folder / "states")
    model, tokenizer = load(folder / "start")
    turns = [
        [{"role": turn.role, "content": turn.content} for turn in record.messages]
        for record in splits.train
    ]
    sft = recipe.sft
    clock = Clock()
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(
            [{"prompt": messages[:-1], "completion": messages[-1:]} for messages in turns]
        ),
        args=SFTConfig(
            output_dir=str(folder / "saves"),
            num_train_epochs=sft.epochs,
            per_device_train_batch_size=sft.batch_size,
            learning_rate=sft.learning_rate,
            lr_scheduler_type=sft.schedule,
            warmup_steps=sft.warmup,
            adam_beta2=sft.adam_beta2,
            weight_decay=sft.weight_decay,
            max_length=sft.max_length,
            seed=recipe.seed,
            bf16=sft.precision == "bfloat16",
            use_cpu=model.device.type == "cpu",
            dataloader_pin_memory=model.device.type != "cpu",
            gradient_checkpointing=sft.gradient_checkpointing,
            logging_steps=sft.log_every,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        callbacks=[timer(clock)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    encoded: Any = trainer.train_dataset
    return sum(len(ids) for ids in encoded["input_ids"]) / clock.seconds


def made(seed: int) -> Splits:
    """The tiny model's training records, and triples."""
    train = [*build(seed).train, *build_triples(seed).train]
    return Splits(train, [], [], manifest_of(DESCRIPTIONS))


def drawn(splits: Splits, records: int) -> Splits:
    """So many of the training records, drawn at random."""
    chosen = random.Random(0).sample(list(splits.train), min(records, len(splits.train)))
    return replace(splits, train=chosen)


def measure(recipe: Recipe, splits: Splits, repetitions: int) -> dict[tuple[str, int], float]:
    """Tokens a second, by name and repetition."""
    works: dict[str, Callable[[Path], float]] = {
        PLAIN: lambda folder: plain(recipe, splits, folder),
        AGAIN: lambda folder: plain(recipe, splits, folder),
    }
    for name, settings in METHODS.items():
        own = recipes.override(recipe, settings)
        works[name] = lambda folder, own=own: ours(own, splits, folder)  # type: ignore[misc]
    found = {}
    # What the first step of a process does once, libraries and kernels above all, is nobody's.
    small = drawn(splits, 2 * recipe.sft.batch_size)
    for first in (plain, ours):
        with tempfile.TemporaryDirectory() as folder:
            first(recipe, small, Path(folder))
    for repetition in range(repetitions):
        for name in order(list(works), repetition):
            with tempfile.TemporaryDirectory() as folder:
                found[name, repetition] = works[name](Path(folder))
            print(f"{repetition + 1}: {name}, {found[name, repetition]:.0f} tokens/s", flush=True)
    return found


def table(found: Mapping[tuple[str, int], float]) -> Sequence[tuple[str, str, str]]:
    """By name: mean tokens a second, and the ratio to plain SFT with its interval."""
    rows = []
    for name in dict.fromkeys(name for name, _ in found):
        own = [value for (whose, _), value in found.items() if whose == name]
        against = "" if name == PLAIN else str(ratio(found, name, PLAIN))
        rows.append((name, f"{sum(own) / len(own):.0f}", against))
    return rows


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add = parser.add_argument
    add("--records", type=int, default=800, metavar="N", help="default: %(default)s")
    add("--repetitions", type=int, default=5, metavar="N", help="default: %(default)s")
    add("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    wait_without_spinning()
    from training.loading import quiet

    quiet()
    recipe = recipes.override(recipes.find("tiny"), (*SETTINGS, *arguments.settings))
    splits = drawn(made(recipe.seed), arguments.records)
    found = measure(recipe, splits, arguments.repetitions)
    head = ("", "tokens a second", f"ratio to {PLAIN}")
    print("\n".join(markdown_table("Training", head, table(found))))


if __name__ == "__main__":
    main()
