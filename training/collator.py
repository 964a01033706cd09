"""Batches: TRL's, with one more column that is padded as the labels are."""

from typing import Any

import torch
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from training.losses import OTHER

KEPT = "kept"
"""Per position its place among those of the base's own answers, or OTHER."""


class Collator(DataCollatorForLanguageModeling):
    """TRL's collator, which leaves out columns that it does not know."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Tensors of a batch: padded on the right, or one sequence after the other."""
        batch: dict[str, Any] = super().torch_call(examples)
        if KEPT not in examples[0]:
            return batch
        rows = [torch.tensor(example[KEPT]) for example in examples]
        if self.padding_free:
            rows = [torch.cat(rows)]
        kept = torch.full_like(batch["labels"], OTHER)
        for at, row in enumerate(rows):
            kept[at, : len(row)] = row
        batch[KEPT] = kept
        return batch
