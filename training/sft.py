"""Supervised fine-tuning on encoded examples by TRL's trainer, which resumes where it was cut off.

Both papers' objectives are layouts of labels, so the trainer's own loss is used: TRL (1.16) takes
a dataset's `labels` as they are.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from datasets import Dataset
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerState,
)
from transformers.integrations.integration_utils import get_available_reporting_integrations
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.data_utils import pack_dataset
from trl.trainer.sft_config import SFTConfig

from training.callbacks import COMPLETE, MarkComplete, MeasureAtEnd, ShowProgress, WriteMetrics
from training.collator import KEPT, Collator
from training.config import SftConfig
from training.encoding import Example
from training.errors import TrainingError
from training.examples import Examples, HeldOut
from training.losses import OTHER, Objective
from training.trainer import ResumableTrainer

logger = logging.getLogger(__name__)


class SftError(TrainingError):
    """The settings ask of the model or of this machine what it does not have."""


def fit(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Examples,
    config: SftConfig,
    *,
    objective: Objective | None = None,
    seed: int,
    saves: Path,
    metrics: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> dict[str, torch.Tensor]:
    """Train `model` in place, from the last complete save in the folder `saves` if there is one.

    A run with the same arguments that was interrupted at any point ends with the weights of one
    that was not. The loss is `objective`, or the mean over the labels that are not ignored.
    metrics: a file of JSON lines, one for each time that something is logged or measured.
    Returns the trained weights; where they are sharded, whole ones in the main process.
    Raises SftError.
    """
    _check(config, model)
    last = last_save(saves)
    trainer = ResumableTrainer(
        model=model,
        args=_arguments(config, seed, saves, examples.held_out),
        processing_class=tokenizer,
        train_dataset=train_dataset(examples.train, config),
        eval_dataset=_eval_datasets(examples.held_out),
        callbacks=[
            MarkComplete(),
            WriteMetrics(metrics),
            ShowProgress(),
            *([MeasureAtEnd()] if examples.held_out else []),
            *([EarlyStoppingCallback(config.early_stopping)] if config.early_stopping else []),
            *callbacks,
        ],
    )
    # Not by the constructor: TRL (1.16) takes none there for batches without padding.
    trainer.data_collator = Collator(
        pad_token_id=tokenizer.pad_token_id, padding_free=config.batching != "padded"
    )
    trainer.held_out = examples.held_out
    if objective is not None:
        trainer.objective = objective
        # It counts the whole step already: transformers (5.19) must not divide by the batches.
        trainer.loss_is_scaled_for_ga = True  # type: ignore[assignment]
    trainer.remove_callback(PrinterCallback)
    if last is not None:
        logger.info("Going on from step %s.", last.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-"))
    if last is not None and config.early_stopping and _has_ended(last):
        # It was killed between its early end and the checkpoint: training on would go past it.
        trainer.state = TrainerState.load_from_json(str(last / "trainer_state.json"))
        trainer._load_best_model()
    else:
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    weights: dict[str, torch.Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return weights


def last_save(saves: Path) -> Path | None:
    """The latest complete save in the folder `saves`; incomplete ones are removed."""
    complete: list[tuple[int, Path]] = []
    for save in saves.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if (save / COMPLETE).is_file():
            complete.append((int(save.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-")), save))
        else:
            shutil.rmtree(save)
    return max(complete)[1] if complete else None


def train_dataset(examples: Sequence[Example], config: SftConfig) -> Dataset:
    """The rows that batches are made of: an example each, or several where they are packed."""
    dataset = _dataset(examples)
    if config.batching != "packed":
        return dataset
    return pack_dataset(dataset, config.max_length, "bfd")


def _check(config: SftConfig, model: PreTrainedModel) -> None:
    attention = str(model.config._attn_implementation)
    if config.batching != "padded" and "flash" not in attention:
        raise SftError(
            f"sft.batching={config.batching} needs flash attention, and this model has"
            f" {attention!r}, which would let examples see each other or cost more than padding:"
            " set model.attention=flash_attention_2, or sft.batching=padded"
        )
    installed = get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    if config.report_to not in ("none", *installed):
        raise SftError(f"sft.report_to={config.report_to}: its package is not installed")


def _has_ended(save: Path) -> bool:
    state = TrainerState.load_from_json(str(save / "trainer_state.json"))
    control = cast(dict[str, dict[str, bool]], state.stateful_callbacks["TrainerControl"])
    return control["args"]["should_training_stop"]


def _dataset(examples: Sequence[Example]) -> Dataset:
    columns = {
        "input_ids": [example.input_ids for example in examples],
        "labels": [example.labels for example in examples],
    }
    if any(example.kept is not None for example in examples):
        columns[KEPT] = [example.kept or [OTHER] * len(example.input_ids) for example in examples]
    return Dataset.from_dict(columns)


def _eval_datasets(held_out: HeldOut | None) -> dict[str, Dataset] | None:
    if held_out is None:
        return None
    return {kind: _dataset(examples) for kind, examples in held_out.by_kind.items()}


def _arguments(config: SftConfig, seed: int, saves: Path, held_out: HeldOut | None) -> SFTConfig:
    early = bool(config.early_stopping)
    return SFTConfig(
        output_dir=str(saves),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        # A float below 1 is a share of all steps.
        warmup_steps=config.warmup,
        adam_beta2=config.adam_beta2,
        weight_decay=config.weight_decay,
        # transformers asks for a GPU that can do bfloat16, unless it is told that there is none.
        use_cpu=not torch.accelerator.is_available(),
        bf16=config.precision == "bfloat16",
        gradient_checkpointing=config.gradient_checkpointing,
        padding_free=config.batching != "padded",
        seed=seed,
        data_seed=seed,
        save_strategy="steps",
        save_steps=config.save_every,
        # Two, since the older one counts until the newer one is marked complete.
        save_total_limit=2,
        eval_strategy="no" if held_out is None else "steps",
        eval_steps=config.save_every if config.eval_every == "save" else config.eval_every,
        load_best_model_at_end=early,
        metric_for_best_model="eval_loss" if early else None,
        greater_is_better=False if early else None,
        restore_callback_states_from_checkpoint=early,
        logging_steps=config.log_every,
        report_to=config.report_to,
        disable_tqdm=True,
        # Which of the base's own answers' positions a row has is no input of the model.
        remove_unused_columns=False,
        dataloader_pin_memory=torch.accelerator.is_available(),
        # The examples are encoded and cut already.
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
