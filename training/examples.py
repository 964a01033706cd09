"""From a recipe's records to the examples that it trains on, and those it is measured on."""

import hashlib
import logging
import random
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from training.config import Recipe, Splits
from training.datasets.split import folded
from training.encoding import Encoder, Example, PromptTooLongError
from training.loading import control_tokens
from training.methods import apply_methods
from training.records import Record, RecordError
from training.rendering import end_of_turn, prompt_ids
from training.triples import TripleEncoder
from training.work_folder import RunError

_APOSTROPHES = re.compile("['\N{RIGHT SINGLE QUOTATION MARK}]")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """A held-out prompt where a control token has to be chosen."""

    prompt: list[int]
    token: int | None
    """The control token; None for a harmless prompt of a model without a respond token."""
    category: int | None
    """Place of the record's category in the manifest; None for a harmless prompt."""


@dataclass(frozen=True)
class HeldOut:
    """What a model in training is measured on."""

    by_kind: dict[str, list[Example]]
    """Examples by what they teach: refusal, contrast, answer, safe, prefix, rto; none is empty."""
    decisions: list[Decision]
    """Empty for a model without control tokens."""
    refuse_ids: tuple[int, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Examples:
    """What `fit` needs of the data."""

    train: list[Example]
    held_out: HeldOut | None


def splits_of(recipe: Recipe) -> Splits:
    """The recipe's data by its methods: what is trained on, calibrated and tested with.

    Raises RecordError with the faults of all records, or RunError if none is to be learnt.
    """
    splits = recipe.data(recipe.seed)
    _check(splits)
    return apply_methods(recipe.methods, splits, recipe.seed)


def build_examples(recipe: Recipe, splits: Splits, tokenizer: PreTrainedTokenizerBase) -> Examples:
    """Encode the training records by the recipe's methods, holding out its share of them.

    splits: as `splits_of` gives them. The same ones give the same examples in the same order.
    Raises EncodingError, and RunError if there is no example to train on, or none to measure on
    although a share is to be held out.
    """
    control = None
    if recipe.methods.tokens != "none":
        control = control_tokens(splits.manifest, tokenizer)
    encoder = Encoder(
        tokenizer, control, splits.manifest.names, recipe.sft.max_length, recipe.sft.loss_on
    )
    train, held = hold_out(splits.train, recipe.sft.eval_share, recipe.seed)
    triples = TripleEncoder(encoder, recipe.methods, random.Random(recipe.seed))
    logger.info("Encoding %d records.", len(splits.train))
    examples = encode_all(train, triples)
    if recipe.sft.decision_copies:
        examples += encoder.decisions(train) * recipe.sft.decision_copies
    if not examples:
        raise RunError(f"no record fits into max_length={recipe.sft.max_length}")
    held_out = _held_out(held, triples) if recipe.sft.eval_share else None
    if held_out is not None and not held_out.by_kind:
        raise RunError(
            f"sft.eval_share={recipe.sft.eval_share} of {len(splits.train)} records holds out"
            f" {len(held)}, of which none fits into sft.max_length={recipe.sft.max_length}: raise"
            " either, or measure nothing with sft.eval_share=0"
        )
    return Examples(examples, held_out)


def encode_all(records: Sequence[Record], triples: TripleEncoder) -> list[Example]:
    """The examples of all records but those whose prompt is too long; the log says how many."""
    encoder = triples.encoder
    examples: list[Example] = []
    skipped = cut = 0
    end = end_of_turn(encoder.tokenizer)
    for record in records:
        try:
            made = triples.expand(record)
        except PromptTooLongError:
            skipped += 1
            continue
        examples.extend(made)
        cut += any(example.input_ids[-1] != end for example in made)
    if skipped or cut:
        logger.warning(
            "Of %d records, %d were skipped and %d answers were cut: longer than max_length=%d",
            len(records),
            skipped,
            cut,
            encoder.max_length,
        )
    return examples


def hold_out(
    records: Sequence[Record], share: float, seed: int
) -> tuple[Sequence[Record], list[Record]]:
    """Training and held-out records; about `share` of the prompts are held out.

    The last user turn decides, by a hash with the seed: records that ask the same are never parted,
    however they case and punctuate it.
    """
    if not share:
        return records, []
    parts: tuple[list[Record], list[Record]] = ([], [])
    for record in records:
        asked = next(turn.content for turn in reversed(record.messages) if turn.role == "user")
        key = folded(_APOSTROPHES.sub("", asked))
        digest = hashlib.sha256(f"{seed} {key}".encode()).digest()
        parts[int.from_bytes(digest[:8]) < share * 2**64].append(record)
    return parts


def _check(splits: Splits) -> None:
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


def _held_out(records: Sequence[Record], triples: TripleEncoder) -> HeldOut:
    encoder = triples.encoder
    by_kind: dict[str, list[Example]] = {}
    for record in records:
        made = triples.makers if record.harmful is not None else {_kind(record): encoder.encode}
        for kind, make in made.items():
            with suppress(PromptTooLongError):
                example = make(record)
                by_kind.setdefault(kind, []).append(example)
    return HeldOut(
        # By length, so that little is padded.
        {kind: sorted(found, key=lambda e: len(e.input_ids)) for kind, found in by_kind.items()},
        list(_decisions(records, encoder)),
        () if encoder.control is None else encoder.control.refuse,
        encoder.categories,
    )


def _kind(record: Record) -> str:
    if record.category is not None:
        return "refusal"
    return "answer" if record.contrast_of is None else "contrast"


def _decisions(records: Sequence[Record], encoder: Encoder) -> Iterable[Decision]:
    for record in records if encoder.control is not None else ():
        prompt = prompt_ids(encoder.tokenizer, record.prompt)
        if len(prompt) < encoder.max_length:
            control = encoder.control_of(record)
            yield Decision(
                prompt,
                control[0] if control else None,
                None if record.category is None else encoder.categories.index(record.category),
            )
