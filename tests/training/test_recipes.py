import pytest

from training.categories import DESCRIPTIONS
from training.config import (
    AdapterConfig,
    BaseConfig,
    MethodsConfig,
    Recipe,
    ScratchConfig,
    SftConfig,
)
from training.data_sources import DataSources
from training.methods import scopes
from training.recipes import RECIPES, RecipeError, find, override, settings, tiny


def test_recipes_are_found_by_their_own_name() -> None:
    assert [find(name).name for name in RECIPES] == list(RECIPES)


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"recipe 'dmeo' is unknown; known are .*\btiny\b"):
        find("dmeo")


PAPER = [
    name
    for name in RECIPES
    if isinstance(find(name).model, BaseConfig)
    and isinstance(find(name).data, DataSources)
    and not find(name).frozen
]


def test_a_model_from_scratch_takes_data_of_ones_own() -> None:
    recipe = tiny()
    assert isinstance(recipe.model, ScratchConfig)
    assert isinstance(recipe.data, DataSources)
    assert recipe.data.categories == tuple(DESCRIPTIONS)
    recipe = override(recipe, ["data.train=a.jsonl", "data.categories=safety"])
    assert isinstance(recipe.data, DataSources)
    assert (recipe.data.train, recipe.data.categories) == (("a.jsonl",), ("safety",))


@pytest.mark.parametrize("name", PAPER)
def test_a_papers_recipe_takes_its_data_from_sources(name: str) -> None:
    recipe = override(
        find(name), ["data.train=a.jsonl,b.jsonl", "data.categories=safety,spying", "data.test="]
    )
    assert isinstance(recipe.data, DataSources)
    assert recipe.data.train == ("a.jsonl", "b.jsonl")
    assert recipe.data.test == ()
    assert recipe.data.categories == ("safety", "spying")
    assert isinstance(recipe.model, BaseConfig)
    assert recipe.sft.batch_size * recipe.sft.gradient_accumulation == 128


def test_a_frozen_model_of_ones_own_takes_data_of_ones_own() -> None:
    recipe = override(
        find("frozen"),
        ["model.base=folder", "model.template=own", "data.train=a.jsonl", "data.categories=safety"],
    )
    assert isinstance(recipe.data, DataSources)
    assert isinstance(recipe.model, BaseConfig)
    assert (recipe.model.base, recipe.data.train) == ("folder", ("a.jsonl",))
    assert recipe.frozen
    assert not list(recipe.faults())


def test_dertas_recipe_has_the_papers_methods() -> None:
    methods = find("llama3-8b-derta").methods
    assert (methods.triples, methods.transition, methods.transition_word) == (
        *("both", "word"),
        "Sorry",
    )
    assert (methods.rto_positions, methods.no_prefix_share) == (0.05, 1 / 3)
    assert methods.decision_weight == 0
    joined = override(find("llama3-8b-derta"), ["methods.transition=token"]).methods
    assert scopes(joined, triples=True) == ("first_token", "every_token")


def test_other_bases_can_be_set() -> None:
    recipe = override(
        find("llama3-8b-refusal"),
        ["model.base=folder", "model.template=own", "model.reserved_tokens=", "adapter.rank=8"],
    )
    assert isinstance(recipe.model, BaseConfig)
    assert (recipe.model.base, recipe.model.reserved_tokens) == ("folder", "")
    assert recipe.adapter.rank == 8


def test_the_demonstrations_recipes_have_settings_that_go_together() -> None:
    for name in RECIPES:
        assert not list(find(name).faults())
    assert find("smollm2").frozen
    assert not find("smollm2-lora").frozen


FROZEN = {
    "model": BaseConfig(base="folder"),
    "adapter": AdapterConfig(method="frozen"),
    "methods": MethodsConfig(respond_token=False),
}


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        (FROZEN, []),
        ({"methods": MethodsConfig(answer_share=0.5)}, []),
        (
            {"methods": MethodsConfig(answer_share=0.5, respond_token=False, decision_weight=0)},
            ["methods.answer_share below 1 needs a respond token or methods.decision_weight"],
        ),
        ({"methods": MethodsConfig(answer_share=0.5, respond_token=False)}, []),
        (
            {"methods": MethodsConfig(answer_share=0.5, decision_weight=0)},
            [],
        ),
        (
            {"methods": MethodsConfig(answer_share=0.5, tokens="none", transition="word")},
            ["methods.tokens=none leaves no decision to learn: set methods.answer_share=1"],
        ),
        (
            FROZEN | {"sft": SftConfig(eval_share=0.1)},
            ["adapter.method=frozen trains no steps to measure: set sft.eval_share=0"],
        ),
        (
            {"methods": MethodsConfig(keep_base=1), "sft": SftConfig(batching="packed")},
            [
                "methods.keep_base needs sft.batching=padded or padding_free",
                "methods.keep_base needs a base model: a model from scratch has no answers yet",
            ],
        ),
        (FROZEN | {"model": ScratchConfig()}, ["adapter.method=frozen needs a base model"]),
        *(
            (
                FROZEN | {"model": BaseConfig.model_validate({"base": "folder", **changes})},
                [
                    "adapter.method=frozen needs model.start_rows=fitted and no"
                    " model.reserved_tokens"
                ],
            )
            for changes in ({"start_rows": "mean"}, {"reserved_tokens": "<unused{}>"})
        ),
        *(
            (
                FROZEN | {"methods": methods},
                ["adapter.method=frozen needs refuse tokens and methods.respond_token=false"],
            )
            for methods in (
                MethodsConfig(),
                MethodsConfig(tokens="none", transition="word", respond_token=False),
            )
        ),
    ],
)
def test_settings_that_do_not_go_together(
    changes: dict[str, object], faults: list[str], recipe: Recipe
) -> None:
    assert list(recipe.model_copy(update=changes).faults()) == faults


def test_a_penalty_is_a_number_or_searched_for() -> None:
    recipe = find("smollm2")
    assert isinstance(recipe.model, BaseConfig)
    assert recipe.model.rows_l2 == "cross-validated"
    for value, expected in (("0.1", 0.1), ("cross-validated", "cross-validated")):
        changed = override(recipe, [f"model.rows_l2={value}"])
        assert isinstance(changed.model, BaseConfig)
        assert changed.model.rows_l2 == expected
    with pytest.raises(RecipeError, match=r"model\.rows_l2 '0': input should be greater than 0"):
        override(recipe, ["model.rows_l2=0"])


def test_every_recipe_says_where_its_numbers_come_from() -> None:
    for name in PAPER:
        assert "Ours" in str(RECIPES[name].__doc__)


def test_settings_are_every_field_of_every_section() -> None:
    found = dict(settings(tiny()))
    assert found["model.vocab_size"] == 2048
    assert {f"sft.{field}" for field in SftConfig.model_fields} < set(found)


def test_values_take_their_fields_type(recipe: Recipe, sizes: ScratchConfig) -> None:
    changed = override(
        recipe,
        [
            "sft.epochs=2",
            "sft.learning_rate=3e-4",
            "sft.loss_on=all",
            "model.layers=3",
            "model.tied_embeddings=false",
            "sft.epochs=2.5",
        ],
    )
    assert changed.sft.epochs == 2.5
    assert changed.sft.learning_rate == 3e-4
    assert changed.sft.loss_on == "all"
    assert changed.model == sizes.model_copy(update={"layers": 3, "tied_embeddings": False})
    assert changed.sft.batch_size == recipe.sft.batch_size
    assert recipe.model == sizes


def test_no_assignment_changes_nothing(recipe: Recipe) -> None:
    assert override(recipe, []) == recipe


@pytest.mark.parametrize(
    ("assignment", "fault"),
    [
        ("epochs", "'epochs' is not of the form key=value"),
        ("epochs=2", "setting 'epochs' is unknown; known are model.vocab_size, model.hidden_size"),
        ("sft.epoch=2", "setting 'sft.epoch' is unknown"),
        ("seed=2", "setting 'seed' is unknown"),
        ("sft.epochs=two", "sft.epochs 'two': input should be a valid number"),
        ("sft.epochs=0", "sft.epochs '0': input should be greater than 0"),
        ("sft.batch_size=1.5", "sft.batch_size '1.5': input should be a valid integer"),
        ("sft.loss_on=prompt", "sft.loss_on 'prompt': input should be 'answer' or 'all'"),
        ("sft.schedule=", "sft.schedule '': input should be 'constant', 'linear' or 'cosine'"),
        ("data.train=x", "setting 'data.train' is unknown"),
        ("adapter.method=prefix", "adapter.method 'prefix': input should be 'full', 'lora', "),
        ("model.heads=3", "model: value error, hidden_size must be an even multiple of heads"),
    ],
)
def test_faulty_assignments(recipe: Recipe, assignment: str, fault: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(recipe, [assignment])
    assert fault in str(caught.value)


@pytest.mark.parametrize("pattern", ["<extra>", "<extra_{}_{}>"])
def test_reserved_tokens_have_one_number(pattern: str) -> None:
    with pytest.raises(RecipeError, match=r"must hold \{\} once, for the number"):
        override(find("llama3-8b-refusal"), [f"model.reserved_tokens={pattern}"])


def test_all_faults_are_told_at_once(recipe: Recipe) -> None:
    with pytest.raises(RecipeError) as caught:
        override(recipe, ["x=1", "sft.epochs=0", "model.layers=0"])
    assert str(caught.value).count("; ") >= 3
