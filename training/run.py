"""A training run: from a recipe to a finished checkpoint, through a work folder beside it.

    OUTPUT.part/run.json     what the run is made of; another recipe or other data start anew
    OUTPUT.part/start/       tokenizer and untrained model, with their control tokens
    OUTPUT.part/saves/       the trainer's saves
    OUTPUT.part/metrics.jsonl  what was logged and measured
    OUTPUT.part/finished/    the checkpoint, renamed to OUTPUT when it is whole

OUTPUT itself therefore is a finished checkpoint or does not exist.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from steering.manifest import MANIFEST_FILE
from training.config import Recipe, Splits
from training.control_tokens import add_control_tokens
from training.examples import build_examples
from training.loading import load
from training.methods import apply_methods
from training.records import Record, RecordError, format_record, write_records
from training.rendering import end_of_turn
from training.scratch import build_model, texts_of, train_tokenizer
from training.sft import fit

CALIBRATION_PROMPTS = Path("prompts", "calibration.jsonl")
TEST_PROMPTS = Path("prompts", "test.jsonl")
"""Where a checkpoint keeps its recipe's held-out prompts."""
METRICS = Path("training", "metrics.jsonl")
"""Where a checkpoint keeps what was logged and measured while it was trained."""

logger = logging.getLogger(__name__)


class RunError(ValueError):
    """A run cannot start: something stands in its way, or there is nothing to train on."""


def is_finished(output: Path) -> bool:
    """Whether the folder `output` holds a finished checkpoint."""
    return (output / MANIFEST_FILE).is_file()


def train(
    recipe: Recipe,
    output: Path,
    *,
    force: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Train `recipe` into the folder `output`, going on where an interrupted run stopped.

    force: replace a finished checkpoint that stands there, once the new one is finished.
    Raises RunError, RecordError when the recipe's data are faulty, and KeyboardInterrupt.
    """
    _check_output(output, force)
    splits = recipe.data(recipe.seed)
    _check_data(splits)
    splits = apply_methods(recipe.methods, splits, recipe.seed)
    part = output.with_name(output.name + ".part")
    _open_work_folder(part, _fingerprint(recipe, splits))
    start = part / "start"
    if not start.exists():
        _make_start(start, recipe, splits)
    model, tokenizer = load(start)
    logger.info("Encoding %d records.", len(splits.train))
    examples = build_examples(recipe, splits, tokenizer)
    if not examples.train:
        raise RunError(f"no record fits into max_length={recipe.sft.max_length}")
    logger.info(
        "Training %s parameters on %d examples.", f"{model.num_parameters():,}", len(examples.train)
    )
    fit(
        model,
        tokenizer,
        examples,
        recipe.sft,
        seed=recipe.seed,
        saves=part / "saves",
        metrics=part / METRICS.name,
        callbacks=callbacks,
    )
    finished = part / "finished"
    shutil.rmtree(finished, ignore_errors=True)
    write_checkpoint(finished, model, tokenizer, splits)
    (finished / METRICS).parent.mkdir()
    shutil.copyfile(part / METRICS.name, finished / METRICS)
    _put_in_place(finished, output, part)


def write_checkpoint(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, splits: Splits
) -> None:
    """Write a checkpoint that meets the contract, with the held-out prompts; the manifest last."""
    generation = model.generation_config
    assert generation is not None
    generation.eos_token_id = end_of_turn(tokenizer)
    generation.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path, records in [(CALIBRATION_PROMPTS, splits.calibration), (TEST_PROMPTS, splits.test)]:
        if records:
            (folder / path).parent.mkdir(exist_ok=True)
            write_records(folder / path, records)
    splits.manifest.save(folder)


def _make_start(start: Path, recipe: Recipe, splits: Splits) -> None:
    logger.info("Learning a tokenizer from %d records.", len(splits.train))
    tokenizer = train_tokenizer(texts_of(splits.train), recipe.model)
    model = build_model(tokenizer, recipe.model, recipe.seed)
    add_control_tokens(model, tokenizer, splits.manifest)
    half = start.with_name("start.part")
    shutil.rmtree(half, ignore_errors=True)
    model.save_pretrained(half)
    tokenizer.save_pretrained(half)
    half.rename(start)


def _check_output(output: Path, force: bool) -> None:
    if output.is_dir() and not any(output.iterdir()):
        return
    if output.exists() and not is_finished(output):
        raise RunError(f"{output} exists and is no checkpoint: name another folder or remove it")
    if output.exists() and not force:
        raise RunError(f"{output} holds a finished checkpoint: use force to replace it")


def _check_data(splits: Splits) -> None:
    names = splits.manifest.names
    faults = [
        f"{kind} record {record.id or index}: {fault}"
        for kind, records in [
            ("training", splits.train),
            ("calibration", splits.calibration),
            ("test", splits.test),
        ]
        for index, record in enumerate(records)
        for fault in record.faults("training" if kind == "training" else "calibration", names)
    ]
    if faults:
        raise RecordError(faults)
    if not splits.train:
        raise RunError("the recipe has no training records")


def _fingerprint(recipe: Recipe, splits: Splits) -> str:
    """What the result depends on, as JSON: equal fingerprints may share a work folder."""
    fields = {
        "recipe": recipe.model_dump(mode="json"),
        "manifest": splits.manifest.model_dump(mode="json"),
        "data": {
            "train": _digest(splits.train),
            "calibration": _digest(splits.calibration),
            "test": _digest(splits.test),
        },
    }
    return json.dumps(fields, indent=2) + "\n"


def _digest(records: Sequence[Record]) -> str:
    """SHA-256 of the records as JSON lines."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(format_record(record).encode() + b"\n")
    return digest.hexdigest()


def _open_work_folder(part: Path, fingerprint: str) -> None:
    run = part / "run.json"
    if part.exists() and any(part.iterdir()):
        if not run.is_file():
            raise RunError(f"{part} is in the way: it is not the work folder of a training run")
        if run.read_text(encoding="utf-8", errors="replace") == fingerprint:
            logger.info("Going on with the interrupted run in %s.", part)
            return
        logger.info("The interrupted run in %s had other settings or data: starting anew.", part)
        shutil.rmtree(part)
    part.mkdir(parents=True, exist_ok=True)
    run.write_text(fingerprint, encoding="utf-8")


def _put_in_place(finished: Path, output: Path, part: Path) -> None:
    if output.exists() and any(output.iterdir()):
        # Two renames: a kill between them leaves no checkpoint, but never a mixed one, and the
        # next run has only its last step left to do.
        output.rename(part / "replaced")
    finished.replace(output)
    shutil.rmtree(part)
