"""The chosen methods applied to a recipe's data: control tokens, labels and mixture."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Literal, NamedTuple

from steering.manifest import Category, Scope
from training.categories import SHARED_TOKEN
from training.config import MethodsConfig, Splits
from training.records import Record, RecordError

SHARED = "refusal"
"""The one category that stands for all where they share a token."""


class Basis(NamedTuple):
    """What a ratio is to."""

    name: str
    records: int


def apply_methods(methods: MethodsConfig, splits: Splits, seed: int) -> Splits:
    """The splits as `methods` wants them: the training records mixed, labels and manifest changed.

    With the default methods and without triples they come back as they are.
    Raises RecordError if a ratio asks for records that the data do not hold.
    """
    train = mix(splits.train, methods, seed)
    manifest = splits.manifest.model_copy(
        update={"scopes": scopes(methods, any(record.harmful is not None for record in train))}
    )
    if not methods.respond_token:
        manifest = manifest.model_copy(update={"respond_token": None})
    changed = replace(splits, train=train, manifest=manifest)
    return _share_token(changed) if methods.tokens == "shared" else changed


def scopes(methods: MethodsConfig, triples: bool) -> tuple[Scope, ...]:
    """Where in an answer a model so trained can refuse by a token.

    triples: whether it was trained on any. Without control tokens there is no scope. A prefix alone
    teaches one turn per answer and no label elsewhere, so only RTO earns `every_token`.
    """
    if methods.tokens == "none":
        return ()
    everywhere = triples and methods.triples in ("rto", "both") and methods.transition == "token"
    return ("first_token", "every_token") if everywhere else ("first_token",)


def mix(records: Sequence[Record], methods: MethodsConfig, seed: int) -> Sequence[Record]:
    """The records in the ratios that `methods` asks for, in their given order.

    Ordinary records stay as they are. Of the others some are left out, or all of them are repeated,
    evenly: the surplus is drawn by `seed`.
    Raises RecordError if a ratio asks for records of a kind that there are none of, or is one to
    records that there are none of: nothing would be left of what it counts.
    """
    rng = random.Random(seed)
    groups: dict[str, list[int]] = {"ordinary": [], "refused": [], "contrast": [], "triples": []}
    for place, record in enumerate(records):
        groups[_group(record)].append(place)
    if methods.refusal_ratio != "given":
        basis = Basis("ordinary", len(groups["ordinary"]))
        groups["refused"] = _resize(
            groups["refused"], methods.refusal_ratio, basis, rng, "refusal_ratio"
        )
    if methods.contrast_share != "given":
        ratio = methods.contrast_share / (1 - methods.contrast_share)
        basis = Basis("refused", len(groups["refused"]))
        groups["contrast"] = _resize(groups["contrast"], ratio, basis, rng, "contrast_share")
    if methods.triples_ratio != "given":
        rest = sum(len(places) for name, places in groups.items() if name != "triples")
        basis = Basis("other", rest)
        groups["triples"] = _resize(
            groups["triples"], methods.triples_ratio, basis, rng, "triples_ratio"
        )
    return [records[place] for place in sorted(chain.from_iterable(groups.values()))]


def _group(record: Record) -> Literal["triples", "refused", "contrast", "ordinary"]:
    if record.harmful is not None:
        return "triples"
    if record.category is not None:
        return "refused"
    return "ordinary" if record.contrast_of is None else "contrast"


def _resize(
    places: list[int], ratio: float, basis: Basis, rng: random.Random, setting: str
) -> list[int]:
    """So many of `places` that there are `ratio` to each of the basis's records."""
    if ratio and places and not basis.records:
        raise RecordError(
            [
                f"methods.{setting} is a ratio to the {basis.name} records, and there are none:"
                " leave it at given, or set it to 0"
            ]
        )
    count = round(ratio * basis.records)
    if count and not places:
        raise RecordError([f"methods.{setting} asks for {count} records of a kind that is missing"])
    if not count:
        return []
    copies, surplus = divmod(count, len(places))
    return places * copies + rng.sample(places, surplus)


def _share_token(splits: Splits) -> Splits:
    category = Category(
        name=SHARED,
        token=SHARED_TOKEN,
        description=f"Any reason to refuse: {', '.join(splits.manifest.names)}.",
    )
    return replace(
        splits,
        train=_relabelled(splits.train),
        calibration=_relabelled(splits.calibration),
        test=_relabelled(splits.test),
        manifest=splits.manifest.model_copy(update={"categories": (category,)}),
        templates=None,  # none of them says what all categories have in common
    )


def _relabelled(records: Sequence[Record]) -> list[Record]:
    return [
        replace(
            record,
            category=None if record.category is None else SHARED,
            contrast_of=None if record.contrast_of is None else SHARED,
        )
        for record in records
    ]
