"""From a recipe's records to the examples that it trains on, and those it is measured on."""

import hashlib
import logging
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from transformers import PreTrainedTokenizerBase

from steering.refusal_templates import RefusalTemplates
from training.base_answers import BaseAnswers, OwnAnswer
from training.categories import REFUSAL, REFUSALS
from training.config import BaseConfig, Recipe, Splits
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
    """Examples by what they teach: refusal, contrast, answer, safe, prefix, rto, or, where a record
    has no answer, decision; none is empty."""
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

    Raises RecordError with the faults of all records, and RunError if none is to be learnt or
    settings do not go together.
    """
    if faults := list(recipe.faults()):
        raise RunError("; ".join(faults))
    splits = recipe.data(recipe.seed)
    _check(splits, recipe)
    splits = apply_methods(recipe.methods, splits, recipe.seed)
    tokens, most = recipe.methods.base_answer_tokens, recipe.sft.max_length
    if tokens >= most and to_answer(splits.train, recipe):
        raise RunError(
            f"methods.base_answer_tokens={tokens} leaves no room for a prompt in"
            f" sft.max_length={most}"
        )
    writes = not recipe.frozen and any(
        record.category is not None
        and record.answered
        and (record.harmful is not None or learns_answer(record, recipe))
        for record in splits.train
    )
    return splits if writes else _with_templates_only(splits)


def build_examples(
    recipe: Recipe,
    splits: Splits,
    tokenizer: PreTrainedTokenizerBase,
    own: BaseAnswers | None = None,
) -> Examples:
    """Encode the training records by the recipe's methods, holding out its share of them.

    splits: as `splits_of` gives them. The same ones give the same examples in the same order.
    own: the base's own answers, to records that have none.
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
    expand = Expansion(triples, recipe, {} if own is None else own.by_prompt())
    examples = encode_all(train, expand)
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


@dataclass(frozen=True, eq=False)
class Expansion:
    """What each record teaches: a triple, its answer, the base's own, or its decision alone."""

    triples: TripleEncoder
    recipe: Recipe
    own: Mapping[tuple[int, ...], OwnAnswer]
    """The base's own answers, by the prompt's token ids."""

    def examples(self, record: Record) -> Sequence[Example]:
        """Those of one record; none if nothing is to be decided. Raises PromptTooLongError."""
        encoder = self.triples.encoder
        if record.harmful is not None:
            return self.triples.expand(record)
        if learns_answer(record, self.recipe):
            if record.answered:
                return [encoder.encode(record)]
            own = self.own.get(tuple(prompt_ids(encoder.tokenizer, record.prompt)))
            if own is not None:
                return [encoder.encode_base(record, own.ids, own.start)]
        if not encoder.control_of(record):
            weighed = encoder.control is not None and self.recipe.methods.decision_weight
            return [encoder.encode_unrefused(record)] if weighed else []
        return [encoder.encode(record, decision_only=True)]


def learns_answer(record: Record, recipe: Recipe) -> bool:
    """Whether the record is among those whose answers are learnt, by a hash with the seed."""
    share = recipe.methods.answer_share
    return share == 1 or _draw(record, f"answer {recipe.seed}") < share


def to_answer(records: Sequence[Record], recipe: Recipe) -> list[Record]:
    """The records that the base itself is to answer; a frozen base needs answers beside triples.

    Raises RunError if there are triples, and nothing harmless to set beside them.
    """
    if not isinstance(recipe.model, BaseConfig):
        return []
    harmless = [record for record in records if record.category is None]
    lacking = [record for record in harmless if not record.answered]
    if not recipe.frozen:
        return [record for record in lacking if learns_answer(record, recipe)]
    triples = sum(record.harmful is not None for record in records)
    if triples and not harmless:
        raise RunError("triples need harmless records beside them, whose answers may go on")
    return lacking[:triples]


def encode_all(records: Sequence[Record], expand: Expansion) -> list[Example]:
    """The examples of all records but those whose prompt is too long; the log says how many."""
    encoder = expand.triples.encoder
    examples: list[Example] = []
    skipped = cut = 0
    ends = {end_of_turn(encoder.tokenizer), *(encoder.control.ids if encoder.control else ())}
    for record in records:
        try:
            made = expand.examples(record)
        except PromptTooLongError:
            skipped += 1
            continue
        examples.extend(made)
        # A shorter one is the base's own, which had no room for its end.
        full = [each.input_ids for each in made if len(each.input_ids) == encoder.max_length]
        cut += any(ids[-1] not in ends for ids in full)
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
        parts[_draw(record, str(seed)) < share].append(record)
    return parts


def _draw(record: Record, salt: str) -> float:
    """A number from 0 to 1 that depends on `salt` and on what the last user turn asks."""
    asked = next(turn.content for turn in reversed(record.messages) if turn.role == "user")
    key = folded(_APOSTROPHES.sub("", asked))
    return int.from_bytes(hashlib.sha256(f"{salt} {key}".encode()).digest()[:8]) / 2**64


def _with_templates_only(splits: Splits) -> Splits:
    """The splits of a model that is not taught to write refusals: templates say them."""
    if not splits.manifest.scopes:
        return splits
    manifest = splits.manifest.model_copy(update={"refusal_texts": ("template",)})
    names = splits.manifest.names
    templates = splits.templates or RefusalTemplates.of_texts(
        "en", {name: REFUSALS.get(name, REFUSAL) for name in names}
    )
    return replace(splits, manifest=manifest, templates=templates)


def _check(splits: Splits, recipe: Recipe) -> None:
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
    if recipe.methods.tokens == "none":
        faults += [
            f"training record {record.id or index}: ends in no answer, and without control tokens"
            " (methods.tokens=none) there is nothing else to learn from it"
            for index, record in enumerate(splits.train)
            if not record.answered
        ]
    if faults:
        raise RecordError(faults)
    if not splits.train:
        raise RunError("the recipe has no training records")


def _held_out(records: Sequence[Record], triples: TripleEncoder) -> HeldOut:
    encoder = triples.encoder
    by_kind: dict[str, list[Example]] = {}
    for record in records:
        made: Mapping[str, Callable[[Record], Example]] = {_kind(record): encoder.encode}
        if record.harmful is not None:
            made = triples.makers
        elif not record.answered:
            made = {"decision": partial(encoder.encode, decision_only=True)}
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
