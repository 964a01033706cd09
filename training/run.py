"""A training run: from a recipe to a finished checkpoint, through a work folder beside it.

Under `accelerate launch` every process runs this; the main one alone writes, except for the
trainer's own saves, to which each process adds its random state.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from training.adapters import adapter_state, attach, merge, quantization
from training.base_answers import FILE as ANSWERS_FILE
from training.base_answers import BaseAnswers
from training.base_source import BaseError
from training.config import Recipe, Splits
from training.examples import build_examples, splits_of
from training.export import in_dtype, write_checkpoint, write_companions
from training.loading import control_tokens, load
from training.losses import Objective
from training.model_card import write_model_card
from training.processes import join
from training.run_folder import FOLDER, METRICS, fingerprint, write_run_folder
from training.sft import fit, last_save
from training.start import write_start
from training.storage import storing
from training.work_folder import STATES, check_output, open_work_folder, put_in_place

CPU = torch.device("cpu")
GO_ON = "Nothing that was finished is lost: run the same command again to go on from the last save."

logger = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    output: Path,
    *,
    force: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Train `recipe` into the folder `output`, going on where an interrupted run stopped.

    force: replace a finished checkpoint that stands there, once the new one is finished.
    Raises RunError, RecordError when the recipe's data are faulty, EncodingError when its records
    do not go through the chat template, BaseError, AdapterError and SftError when the model cannot
    be trained as asked, StorageError when the disk is full, and KeyboardInterrupt.
    """
    output = output.resolve()
    if join().is_main_process:
        check_output(output, force)
    part = output.with_name(output.name + ".part")
    splits = splits_of(recipe)
    with storing(part, GO_ON):
        _train(recipe, splits, output, part, callbacks)


def _train(
    recipe: Recipe,
    splits: Splits,
    output: Path,
    part: Path,
    callbacks: Sequence[TrainerCallback],
) -> None:
    here = join()
    if here.is_main_process:
        _prepare(part, recipe, splits, here.num_processes)
    here.wait_for_everyone()
    if recipe.frozen:
        if here.is_main_process:
            _finish_frozen(part, recipe, splits)
            put_in_place(part / "finished", output, part, keep_states=True)
        here.wait_for_everyone()
        return
    model, tokenizer = _load_start(part / "start", recipe)
    if recipe.adapter.method != "full":
        control = control_tokens(splits.manifest, tokenizer)
        model = cast(PreTrainedModel, attach(model, control, recipe.adapter, recipe.seed))
    own = BaseAnswers.load(part / "start")
    examples = build_examples(recipe, splits, tokenizer, own)
    logger.info(
        "Training %s of %s parameters on %d examples.",
        f"{model.num_parameters(only_trainable=True):,}",
        f"{model.num_parameters():,}",
        len(examples.train),
    )
    weights = fit(
        model,
        tokenizer,
        examples,
        recipe.sft,
        objective=objective_of(recipe, splits, tokenizer, own),
        seed=recipe.seed,
        saves=part / "saves",
        metrics=part / FOLDER / METRICS,
        callbacks=callbacks,
    )
    # The trainer has made the state anew.
    here = join()
    if here.is_main_process:
        finished = part / "finished"
        shutil.rmtree(finished, ignore_errors=True)
        shutil.copytree(part / FOLDER, finished / FOLDER)
        write_model_card(finished, recipe, splits)
        _export(finished, part / "start", recipe, splits, model, tokenizer, weights)
        put_in_place(finished, output, part)
    here.wait_for_everyone()


def objective_of(
    recipe: Recipe,
    splits: Splits,
    tokenizer: PreTrainedTokenizerBase,
    own: BaseAnswers | None,
) -> Objective | None:
    """The loss of the recipe's methods; None for the plain mean over labels."""
    methods = recipe.methods
    decides = methods.tokens != "none"
    if not ((decides and methods.decision_weight) or methods.keep_base):
        return None
    return Objective(
        control_tokens(splits.manifest, tokenizer).ids if decides else (),
        methods.decision_weight if decides else 0.0,
        methods.keep_base,
        own.top if own is not None and methods.keep_base else None,
    )


def _finish_frozen(part: Path, recipe: Recipe, splits: Splits) -> None:
    """The checkpoint of a frozen base: the start as it is, and what goes with it."""
    finished = part / "finished"
    shutil.rmtree(finished, ignore_errors=True)
    shutil.copytree(part / "start", finished, ignore=shutil.ignore_patterns(ANSWERS_FILE))
    shutil.copytree(part / FOLDER, finished / FOLDER)
    write_model_card(finished, recipe, splits)
    write_companions(finished, splits)


def _prepare(part: Path, recipe: Recipe, splits: Splits, processes: int) -> None:
    open_work_folder(part, fingerprint(recipe, splits, processes))
    write_run_folder(part / FOLDER, recipe, splits, processes)
    if not (part / "start").exists():
        write_start(part / "start", recipe, splits, part / STATES)
    # Here, so that no process meets a save that another is removing.
    last_save(part / "saves")


def _load_start(start: Path, recipe: Recipe) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The start as it is trained: on the CPU, from where the trainer moves it, or quantized."""
    quantized = quantization() if recipe.adapter.method == "qlora" else None
    try:
        return load(
            start,
            recipe.model.dtype,
            device=CPU if quantized is None else join().device,
            attention=recipe.model.attention,
            quantization=quantized,
        )
    except ImportError as error:
        raise BaseError(f"model.attention {recipe.model.attention!r}: {error}") from error


def _export(
    finished: Path,
    start: Path,
    recipe: Recipe,
    splits: Splits,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    weights: Mapping[str, torch.Tensor],
) -> None:
    """Write the trained weights as one full model; an adapter is merged into the start first."""
    if recipe.adapter.method == "full":
        whole = in_dtype(weights, getattr(torch, recipe.model.dtype))
        write_checkpoint(finished, model, tokenizer, splits, whole)
        return
    base, _ = load(start, recipe.model.dtype, device=CPU)
    adapter = adapter_state(cast(PeftModel, model), weights)
    control = control_tokens(splits.manifest, tokenizer)
    write_checkpoint(finished, merge(base, control, recipe.adapter, adapter), tokenizer, splits)
