"""TRL's trainer with an order of examples that survives an interruption, and measures by kind."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from datasets import Dataset, concatenate_datasets
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
from trl.trainer.sft_trainer import SFTTrainer

from training.encoding import IGNORED
from training.examples import HeldOut
from training.measuring import mean_losses, measure_decisions
from training.sampler import LengthBatches

SMALL_VOCABULARY = 2**15
"""Tokens up to which the logits of a whole batch are held in a CPU's memory at once."""

PACKED_LENGTHS = "seq_lengths"
"""Column of TRL's packed datasets: the lengths of the examples in each row."""


class ResumableTrainer(SFTTrainer):
    """See the module's text. `eval_dataset` maps kinds of examples to datasets, or is None."""

    held_out: HeldOut | None = None
    """Where the decisions to measure come from; the examples by kind are `eval_dataset`."""

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
