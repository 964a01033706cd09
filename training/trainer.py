"""TRL's trainer with an order of examples that survives an interruption, and measures by kind."""

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from datasets import Dataset, concatenate_datasets
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
from trl.trainer.sft_trainer import SFTTrainer

from training.collator import KEPT
from training.encoding import IGNORED
from training.examples import HeldOut
from training.losses import OTHER, Objective
from training.measuring import mean_losses, measure_decisions
from training.sampler import LengthBatches

SMALL_VOCABULARY = 2**15
"""Tokens up to which the logits of a whole batch are held in a CPU's memory at once."""

PACKED_LENGTHS = "seq_lengths"
"""Column of TRL's packed datasets: the lengths of the examples in each row."""


class ResumableTrainer(SFTTrainer):
    """See the module's text. `eval_dataset` maps kinds of examples to datasets, or is None."""

    objective: Objective | None = None
    """What is minimised; None for the mean over labels."""
    held_out: HeldOut | None = None
    """Where the decisions to measure come from; the examples by kind are `eval_dataset`."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        assert isinstance(dataset, Dataset)
        return LengthBatches(grouping(dataset), self.args.train_batch_size, self.args.seed)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The objective; without one, or when measuring, the mean over labels.

        That is the model's own loss for small vocabularies on a CPU, TRL's elsewhere.

        TRL (1.16) saves memory by projecting tile by tile, twice. Away from Triton devices it
        projects the positions without a label too, a third of the time that a small model takes.
        """
        if self.objective is not None and model.training:
            return self._objective_loss(self.objective, model, inputs, **kwargs)
        inputs = {name: each for name, each in inputs.items() if name != KEPT}
        assert isinstance(self.processing_class, PreTrainedTokenizerBase)
        if self.args.device.type == "cpu" and len(self.processing_class) <= SMALL_VOCABULARY:
            return Trainer.compute_loss(self, model, inputs, *args, **kwargs)
        return super().compute_loss(  # type: ignore[no-untyped-call]
            model, inputs, *args, **kwargs
        )

    def _objective_loss(
        self,
        objective: Objective,
        model: Any,
        inputs: dict[str, torch.Tensor],
        num_items_in_batch: torch.Tensor,
    ) -> torch.Tensor:
        """The batch's part of the objective; logits are computed only where there are labels.

        num_items_in_batch: the counts of the whole step, by `_get_num_items_in_batch`.
        """
        labels, kept = aligned(inputs)
        columns = (labels != IGNORED).any(dim=0).nonzero()[:, 0]
        if not len(columns):
            columns = columns.new_zeros(1)
        given = {name: each for name, each in inputs.items() if name not in ("labels", KEPT)}
        logits = model(**given, logits_to_keep=columns, use_cache=False).logits
        if kept is not None:
            kept = kept[:, columns]
        loss: torch.Tensor = objective.loss(logits, labels[:, columns], kept, num_items_in_batch)
        # The gradients of processes are averaged, and each has divided by the counts of all.
        return loss * int(self.accelerator.num_processes)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """[3] labels of each kind in the step, over its batches and all processes.

        Without an objective as in transformers (5.19), which calls this before each step.
        """
        if self.objective is None:
            return super()._get_num_items_in_batch(batch_samples, device)
        counts = torch.zeros(3, dtype=torch.int64)
        for batch in batch_samples:
            counts += self.objective.counts(*aligned(batch)).cpu()
        return self.accelerator.reduce(counts.to(device))

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the held-out losses by kind and the decisions, and tell the callbacks.

        Losses are means over labels, not over batches as in transformers. The decisions are scored
        whole by each process.
        """
        assert isinstance(self.eval_dataset, dict)
        assert self.held_out is not None
        # PEFT's wrapper computes as the model does, but is no PreTrainedModel.
        model = cast(PreTrainedModel, self.model)
        model.train(False)
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        for kind, dataset in self.eval_dataset.items():
            sums[kind], counts[kind] = self._loss_of(dataset)
        found = mean_losses(sums, counts)
        # Compiled or sharded models score through the same forward as the losses.
        with self.compute_loss_context_manager():
            found |= measure_decisions(model, self.held_out, self.args.eval_batch_size)
        metrics = {f"eval_{name}": value for name, value in found.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: saves are there to resume from."""

    def _loss_of(self, dataset: Dataset) -> tuple[float, int]:
        """Summed negative log-likelihood and number of labels, over all processes."""
        total = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        at_once = self.args.eval_batch_size * self.accelerator.num_processes
        for batch in self.get_eval_dataloader(filled(dataset, at_once)):
            inputs: Mapping[str, torch.Tensor] = self._prepare_inputs(batch)
            labels = int((inputs["labels"][:, 1:] != IGNORED).sum())
            loss, _, _ = self.prediction_step(self.model, dict(inputs), prediction_loss_only=True)
            # The mean of no label is no number.
            if labels:
                total += torch.tensor([float(loss) * labels, labels], device=total.device)
        nll, count = self.accelerator.reduce(total).tolist()
        return nll, int(count)


def aligned(batch: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Labels and kept places, [B, T], moved to where they are predicted: the last has none."""
    moved = {
        name: F.pad(batch[name][:, 1:], (0, 1), value=filling)
        for name, filling in (("labels", IGNORED), (KEPT, OTHER))
        if name in batch
    }
    return moved["labels"], moved.get(KEPT)


def filled(dataset: Dataset, multiple: int) -> Dataset:
    """The dataset with examples without labels behind it, up to a multiple of `multiple` examples.

    Where processes share it out, accelerate (1.15) would fill up with examples from its beginning,
    which would count twice.
    """
    ids = dataset[0]["input_ids"]
    missing = -len(dataset) % multiple
    filling = {"input_ids": [ids] * missing, "labels": [[IGNORED] * len(ids)] * missing}
    return concatenate_datasets([dataset, Dataset.from_dict(filling)]) if missing else dataset


def grouping(dataset: Dataset) -> list[int]:
    """By what examples are batched together: their length, but lone decisions apart from answers.

    The loss is the mean over a batch's labels, so a decision among answers would hardly count. It
    is told by its single label: with sft.loss_on=all, as in the recipes from scratch, the prompt's
    tokens have labels too, and length alone counts.
    Packed rows are of about one length, and hold all sorts.
    """
    if PACKED_LENGTHS in dataset.column_names:
        return [0] * len(dataset)
    longest = max(map(len, dataset["input_ids"]), default=0)
    return [
        len(ids) if sum(label != IGNORED for label in labels) == 1 else longest + len(ids)
        for ids, labels in zip(dataset["input_ids"], dataset["labels"], strict=True)
    ]
