"""Supervised fine-tuning on encoded examples by TRL's trainer, which resumes where it was cut off.

Both papers' objectives are layouts of labels, so the trainer's own loss is used: TRL (1.16) takes
a dataset's `labels` as they are.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from torch.utils.data import Sampler
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
)
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from training.callbacks import COMPLETE, MarkComplete, ShowProgress
from training.config import SftConfig
from training.encoding import IGNORED, Example
from training.sampler import LengthBatches

SMALL_VOCABULARY = 2**15
"""Tokens up to which the logits of a whole batch are held in a CPU's memory at once."""

logger = logging.getLogger(__name__)


def fit(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    config: SftConfig,
    *,
    seed: int,
    saves: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Train `model` in place, from the last complete save in the folder `saves` if there is one.

    A run with the same arguments that was interrupted at any point ends with the weights of one
    that was not. The loss is the mean over the batch's labels that are not ignored.
    """
    last = last_save(saves)
    trainer = _Trainer(
        model=model,
        args=_arguments(config, seed, saves),
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict(
            {
                "input_ids": [example.input_ids for example in examples],
                "labels": [example.labels for example in examples],
            }
        ),
        callbacks=[MarkComplete(), ShowProgress(), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)
    if last is not None:
        logger.info("Going on from step %s.", last.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-"))
    trainer.train(resume_from_checkpoint=None if last is None else str(last))


def last_save(saves: Path) -> Path | None:
    """The latest complete save in the folder `saves`; incomplete ones are removed."""
    complete: list[tuple[int, Path]] = []
    for save in saves.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if (save / COMPLETE).is_file():
            complete.append((int(save.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-")), save))
        else:
            shutil.rmtree(save)
    return max(complete)[1] if complete else None


def _arguments(config: SftConfig, seed: int, saves: Path) -> SFTConfig:
    return SFTConfig(
        output_dir=str(saves),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        # A float below 1 is a share of all steps.
        warmup_steps=config.warmup,
        adam_beta2=config.adam_beta2,
        weight_decay=config.weight_decay,
        bf16=config.precision == "bfloat16",
        gradient_checkpointing=config.gradient_checkpointing,
        seed=seed,
        data_seed=seed,
        save_strategy="steps",
        save_steps=config.save_every,
        # Two, since the older one counts until the newer one is marked complete.
        save_total_limit=2,
        logging_steps=config.log_every,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.accelerator.is_available(),
        # The examples are encoded and cut already.
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


class _Trainer(SFTTrainer):
    """TRL's trainer with an order of examples that survives an interruption."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        assert isinstance(dataset, Dataset)
        return LengthBatches(grouping(dataset), self.args.train_batch_size, self.args.seed)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The model's own loss for small vocabularies on a CPU, TRL's elsewhere: the same mean.

        TRL (1.16) saves memory by projecting tile by tile, twice. Away from Triton devices it
        projects the positions without a label too, a third of the time that a small model takes.
        """
        assert isinstance(self.processing_class, PreTrainedTokenizerBase)
        if self.args.device.type == "cpu" and len(self.processing_class) <= SMALL_VOCABULARY:
            return Trainer.compute_loss(self, model, inputs, *args, **kwargs)
        return super().compute_loss(  # type: ignore[no-untyped-call]
            model, inputs, *args, **kwargs
        )

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: saves are there to resume from."""


def grouping(dataset: Dataset) -> list[int]:
    """By what examples are batched together: their length, but decisions apart from answers.

    The loss is the mean over a batch's labels, so a decision among answers would hardly count.
    """
    longest = max(map(len, dataset["input_ids"]), default=0)
    return [
        len(ids) if sum(label != IGNORED for label in labels) == 1 else longest + len(ids)
        for ids, labels in zip(dataset["input_ids"], dataset["labels"], strict=True)
    ]
