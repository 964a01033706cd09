"""A model's last hidden states where the next token is to be decided, in one pass over its inputs.

What is read is kept on disk, by the tokens before the decision: another penalty, other categories
or a subset of the prompts find their states there, and an interrupted pass goes on. Memory holds
one batch and the index, not the states.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedModel

from training.control_tokens import embedding_matrices
from training.output_head import OutputHead, check_head
from training.progress import Progress
from training.scoring import check_lengths, left_padded

BATCH_TOKENS = 4096
"""Tokens of a batch, padding included."""
LOGIT_ROWS = 1024
"""Positions of a batch whose logits are computed."""
PART_ROWS = 512
"""States in a file: what an interruption costs at most."""
SAMPLE = 4096
"""Numbers of each weight that tell one model from another."""

Floats32 = npt.NDArray[np.float32]
Key = bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """Token ids, and the positions after which the next token is in question, from 0."""

    ids: Sequence[int]
    positions: Sequence[int]

    @classmethod
    def at_end(cls, ids: Sequence[int]) -> "Reading":
        """Of a prompt: what comes next."""
        return cls(ids, (len(ids) - 1,))

    def prefixes(self) -> list[Key]:
        """One for each position: what stands up to it."""
        tokens = np.asarray(self.ids, dtype=np.int32)
        return [
            hashlib.blake2b(tokens[: place + 1].tobytes(), digest_size=16).digest()
            for place in self.positions
        ]


@dataclass(frozen=True)
class States:
    """Hidden states, each with what the base's other tokens weigh there."""

    hidden: Floats32
    """[n, D], a memory map."""
    offset: Floats32
    """[n] logsumexp of the logits of all tokens but the control tokens."""


class StateStore:
    """The states of one model in a folder."""

    def __init__(self, folder: Path, model: PreTrainedModel, control: Sequence[int]) -> None:
        """control: ids of the control tokens, whose rows do not count as the model's.

        States that the folder holds of another model are removed.
        """
        self._folder, self._model, self._control = folder, model, list(control)
        identity = identity_of(model, control)
        note = folder / "model.json"
        if folder.exists() and not (note.is_file() and json.loads(note.read_text()) == identity):
            logger.info("The hidden states in %s are of another model: reading anew.", folder)
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(identity))
        self._places: dict[Key, tuple[int, int]] = {}  # part, row
        for part in self._parts():
            self._index(part, load_file(self._file(part))["keys"])

    def read(self, readings: Sequence[Reading], head: OutputHead) -> States:
        """The states of all readings, in their order, reading from the model what is missing.

        Raises ScoringError if one is longer than the model's positions, and BaseError if the
        model's logits are not what `head` says.
        """
        limit = getattr(self._model.config, "max_position_embeddings", None)
        check_lengths([reading.ids for reading in readings], limit)
        keys = [reading.prefixes() for reading in readings]
        missing = [
            reading
            for reading, own in zip(readings, keys, strict=True)
            if not all(key in self._places for key in own)
        ]
        if len(missing) < len(readings):
            logger.info("%d hidden states are there already.", len(readings) - len(missing))
        self._fill(missing, head)
        return self._gather([key for own in keys for key in own])

    def _fill(self, readings: Sequence[Reading], head: OutputHead) -> None:
        part = max(self._parts(), default=-1) + 1
        waiting: list[tuple[list[Key], Floats32, Floats32]] = []
        checked = False
        with Progress("reading states", len(readings), unit="prompt") as progress:
            for batch, hidden, logits in forward(self._model, readings):
                if not checked:
                    check_head(head, self._model, hidden, logits)
                    checked = True
                logits[:, self._control] = -torch.inf
                offset = logits.float().logsumexp(dim=1)
                keys = [key for reading in batch for key in reading.prefixes()]
                waiting.append((keys, hidden.float().cpu().numpy(), offset.cpu().numpy()))
                if sum(len(keys) for keys, _, _ in waiting) >= PART_ROWS:
                    self._save(part, waiting)
                    part, waiting = part + 1, []
                progress.advance(len(batch))
            if waiting:
                self._save(part, waiting)

    def _save(self, part: int, waiting: Sequence[tuple[list[Key], Floats32, Floats32]]) -> None:
        keys = np.frombuffer(b"".join(key for own, _, _ in waiting for key in own), np.uint8)
        content = {
            "keys": keys.reshape(-1, 16),
            "hidden": np.concatenate([hidden for _, hidden, _ in waiting]),
            "offset": np.concatenate([offset for _, _, offset in waiting]),
        }
        half = self._folder / "half"
        save_file(content, half)
        half.replace(self._file(part))
        self._index(part, content["keys"])

    def _gather(self, keys: Sequence[Key]) -> States:
        width = self._model.get_output_embeddings().weight.shape[1]  # type: ignore[no-untyped-call]
        path = self._folder / "gathered.npy"
        path.unlink(missing_ok=True)
        hidden = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
            path, "w+", np.float32, (len(keys), width)
        )
        # The map outlives the file's name, and nothing is left when it is closed.
        path.unlink()
        offset = np.empty(len(keys), dtype=np.float32)
        by_part: dict[int, list[tuple[int, int]]] = {}
        for at, key in enumerate(keys):
            part, row = self._places[key]
            by_part.setdefault(part, []).append((at, row))
        for part, pairs in by_part.items():
            to, of = (np.array(column) for column in zip(*pairs, strict=True))
            content = load_file(self._file(part))
            hidden[to], offset[to] = content["hidden"][of], content["offset"][of]
        return States(hidden, offset)

    def _index(self, part: int, keys: npt.NDArray[np.uint8]) -> None:
        self._places |= {key.tobytes(): (part, row) for row, key in enumerate(keys)}

    def _parts(self) -> list[int]:
        return sorted(int(path.stem) for path in self._folder.glob("*.safetensors"))

    def _file(self, part: int) -> Path:
        return self._folder / f"{part:06}.safetensors"


def forward(
    model: PreTrainedModel, readings: Sequence[Reading]
) -> Iterator[tuple[list[Reading], torch.Tensor, torch.Tensor]]:
    """Batches of readings with the hidden states and logits at all of their positions, in order.

    Yields the batch, hidden [m, D] as the output embeddings are given them, and logits [m, V];
    both may be overwritten.
    """
    model.train(False)
    output: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    given: list[torch.Tensor] = []
    hook = output.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        for batch in batches_of(readings):
            columns, rows, places = _columns(batch)
            ids, mask = left_padded([reading.ids for reading in batch], model.device)
            given.clear()
            # Not around the yield: what the caller does with a batch is its own affair.
            with torch.no_grad():
                logits: torch.Tensor = model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
                    logits_to_keep=columns.to(ids.device),
                    use_cache=False,
                ).logits
            yield batch, given[-1][rows, places], logits[rows, places]
    finally:
        hook.remove()


def _columns(batch: Sequence[Reading]) -> tuple[torch.Tensor, list[int], list[int]]:
    """Columns of the padded batch that are needed, and of each position its row and place there."""
    longest = max(len(reading.ids) for reading in batch)
    wanted = [
        (row, longest - len(reading.ids) + position)
        for row, reading in enumerate(batch)
        for position in reading.positions
    ]
    columns = sorted({column for _, column in wanted})
    place = {column: at for at, column in enumerate(columns)}
    return (
        torch.tensor(columns),
        [row for row, _ in wanted],
        [place[column] for _, column in wanted],
    )


def batches_of(readings: Sequence[Reading]) -> Iterator[list[Reading]]:
    """The longest first; those with one position at the end apart from the others."""
    for alone in (True, False):
        group = [reading for reading in readings if (len(reading.positions) == 1) is alone]
        group.sort(key=lambda reading: len(reading.ids), reverse=True)
        batch: list[Reading] = []
        for reading in group:
            longest = max(len(reading.ids), len(batch[0].ids) if batch else 0)
            most = longest if not alone else 1
            full = (len(batch) + 1) * longest > BATCH_TOKENS or (len(batch) + 1) * most > LOGIT_ROWS
            if batch and full:
                yield batch
                batch = []
            batch.append(reading)
        if batch:
            yield batch


def identity_of(model: PreTrainedModel, control: Sequence[int]) -> dict[str, Any]:
    """What tells one model's states from another's: a sample of every weight.

    control: rows of the embeddings that are not the base's. How many others come after the first
    of them counts: they are in the logsumexp.
    """
    digest = hashlib.sha256()
    embeddings = {id(matrix) for matrix in embedding_matrices(model)}
    for name, weight in sorted(model.named_parameters()):
        kept = weight.detach()
        if id(weight) in embeddings:
            kept = kept[: min(control)]
            digest.update(f"{len(weight) - len(control)} rows".encode())
        digest.update(f"{name} {weight.dtype} {tuple(kept.shape)}".encode())
        if weight.device.type == "meta":  # offloaded
            continue
        flat = kept.flatten()
        sample = flat[:: max(1, len(flat) // SAMPLE)].float().cpu()
        digest.update(sample.numpy().tobytes())
    return {"model_type": model.config.model_type, "weights": digest.hexdigest()}
