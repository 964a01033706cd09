from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from steering.manifest import Manifest
from steering.refusal_templates import RefusalTemplates
from tests.training.conftest import exchange
from training.config import MethodsConfig, Recipe, Splits
from training.methods import SHARED, apply_methods, mix, scopes
from training.records import Record, RecordError

RECORDS = [
    *(exchange(f"did {n}", "Yes.") for n in range(20)),
    *(exchange(f"buy {n}", "Here.", contrast_of="safety") for n in range(6)),
    *(exchange(f"steal {n}", "No.", "safety") for n in range(8)),
    *(exchange(f"rob {n}", "No.", "safety", harmful="Take it.") for n in range(5)),
]


def methods(**settings: Any) -> MethodsConfig:
    return MethodsConfig.model_validate(settings)


def counts(records: Any) -> Counter[str]:
    return Counter(record.messages[0].content.split()[0] for record in records)


@pytest.fixture
def splits(manifest: Manifest) -> Splits:
    return Splits(RECORDS, RECORDS[:3], RECORDS[20:40], manifest)


def test_by_default_and_without_triples_nothing_changes(splits: Splits) -> None:
    plain = replace(splits, train=RECORDS[:30])
    assert apply_methods(methods(), plain, seed=0) == plain


def test_given_ratios_keep_records_and_order() -> None:
    assert mix(RECORDS, methods(), seed=0) == RECORDS


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"refusal_ratio": 0.2}, {"did": 20, "buy": 6, "steal": 4, "rob": 5}),
        ({"refusal_ratio": 1}, {"did": 20, "buy": 6, "steal": 20, "rob": 5}),
        ({"refusal_ratio": 0}, {"did": 20, "buy": 6, "rob": 5}),
        ({"contrast_share": 0.2}, {"did": 20, "buy": 2, "steal": 8, "rob": 5}),
        ({"contrast_share": 0}, {"did": 20, "steal": 8, "rob": 5}),
        ({"triples_ratio": 0.5}, {"did": 20, "buy": 6, "steal": 8, "rob": 17}),
        ({"triples_ratio": 0}, {"did": 20, "buy": 6, "steal": 8}),
        (
            {"refusal_ratio": 0.5, "contrast_share": 0.5, "triples_ratio": 0.1},
            {"did": 20, "buy": 10, "steal": 10, "rob": 4},
        ),
    ],
)
def test_ratios(settings: dict[str, float], expected: dict[str, int]) -> None:
    assert counts(mix(RECORDS, methods(**settings), seed=0)) == expected


def test_what_is_repeated_is_repeated_evenly_and_the_seed_draws_the_surplus() -> None:
    def drawn(seed: int) -> Counter[Record]:
        mixed = mix(RECORDS, methods(triples_ratio=0.5), seed)
        return Counter(record for record in mixed if record.harmful)

    assert set(drawn(0).values()) == {3, 4}
    assert drawn(0) == drawn(0)
    assert len({frozenset(drawn(seed).items()) for seed in range(5)}) > 1


def test_a_ratio_of_records_that_are_missing_is_an_error() -> None:
    with pytest.raises(RecordError, match=r"methods.triples_ratio asks for 10 records of a kind"):
        mix(RECORDS[:20], methods(triples_ratio=0.5), seed=0)


@pytest.mark.parametrize(
    ("kept", "setting", "base"),
    [
        (RECORDS[20:34], "refusal_ratio", "ordinary"),
        (RECORDS[:26], "contrast_share", "refused"),
        (RECORDS[34:], "triples_ratio", "other"),
    ],
)
def test_a_ratio_to_records_that_are_missing_is_an_error(
    kept: list[Record], setting: str, base: str
) -> None:
    with pytest.raises(RecordError, match=f"methods.{setting} is a ratio to the {base} records"):
        mix(kept, methods(**{setting: 0.5}), seed=0)
    assert mix(kept, methods(**{setting: 0}), seed=0) != kept


@pytest.mark.parametrize(
    ("settings", "triples", "expected"),
    [
        ({}, False, ("first_token",)),
        ({}, True, ("first_token", "every_token")),
        ({"triples": "rto", "tokens": "shared"}, True, ("first_token", "every_token")),
        ({"triples": "prefix"}, True, ("first_token",)),
        ({"triples": "safety"}, True, ("first_token",)),
        ({"transition": "word"}, True, ("first_token",)),
        ({"tokens": "none", "transition": "word"}, True, ()),
    ],
)
def test_scopes_that_were_trained(
    settings: dict[str, str], triples: bool, expected: tuple[str, ...]
) -> None:
    assert scopes(methods(**settings), triples) == expected


def test_the_manifest_says_what_was_trained(splits: Splits) -> None:
    assert apply_methods(methods(), splits, 0).manifest.scopes == ("first_token", "every_token")
    without = apply_methods(methods(triples_ratio=0), splits, 0)
    assert without.manifest.scopes == ("first_token",)


def test_the_respond_token_can_be_left_out(splits: Splits) -> None:
    manifest = apply_methods(methods(respond_token=False), splits, 0).manifest
    assert manifest.respond_token is None
    assert manifest.categories == splits.manifest.categories


def test_a_shared_token_stands_for_every_category(splits: Splits) -> None:
    templates = RefusalTemplates.of_texts("en", {"safety": "No.", "temporal": "Later."})
    splits = replace(splits, templates=templates)
    assert apply_methods(methods(), splits, 0).templates == templates
    shared = apply_methods(methods(tokens="shared"), splits, 0)
    assert shared.templates is None
    assert [category.token for category in shared.manifest.categories] == ["<|refuse|>"]
    assert shared.manifest.names == (SHARED,)
    assert Manifest.model_validate_json(shared.manifest.model_dump_json()) == shared.manifest
    for before, after in [
        (splits.train, shared.train),
        (splits.calibration, shared.calibration),
        (splits.test, shared.test),
    ]:
        assert [record.messages for record in after] == [record.messages for record in before]
        assert [bool(record.category) for record in after] == [bool(r.category) for r in before]
        assert all(record.faults("training", (SHARED,)) == [] for record in after)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"tokens": "none"}, "tokens=none leaves no refuse token to turn by: set transition=word"),
        ({"prefix_min": 5, "prefix_max": 4}, "prefix_max must be at least prefix_min"),
        ({"no_prefix_share": 1.5}, "less than or equal to 1"),
        ({"contrast_share": 1}, "less than 1"),
        ({"rto_positions": 0}, "greater than 0"),
        ({"triples": "all"}, "'safety', 'prefix', 'rto' or 'both'"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        methods(**settings)


def test_methods_are_settings_of_every_recipe(recipe: Recipe) -> None:
    from training.recipes import override

    changed = override(
        recipe,
        [
            "methods.triples=rto",
            "methods.rto_positions=0.05",
            "methods.prefix_max=100",
            "methods.triples_ratio=given",
        ],
    )
    assert changed.methods == methods(triples="rto", rto_positions=0.05, prefix_max=100)
