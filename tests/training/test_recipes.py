import pytest

from training.config import Recipe, ScratchConfig, SftConfig
from training.recipes import RECIPES, RecipeError, demo, find, override, settings


def test_recipes_are_found_by_their_own_name() -> None:
    assert [find(name).name for name in RECIPES] == list(RECIPES)


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"recipe 'dmeo' is unknown; known are demo"):
        find("dmeo")


def test_settings_are_every_field_of_every_section() -> None:
    found = dict(settings(demo()))
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
        ("model.heads=3", "model: value error, hidden_size must be an even multiple of heads"),
    ],
)
def test_faulty_assignments(recipe: Recipe, assignment: str, fault: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(recipe, [assignment])
    assert fault in str(caught.value)


def test_all_faults_are_told_at_once(recipe: Recipe) -> None:
    with pytest.raises(RecipeError) as caught:
        override(recipe, ["x=1", "sft.epochs=0", "model.layers=0"])
    assert str(caught.value).count("; ") >= 3
