"""Recipes: named functions, each of which returns the whole configuration of a checkpoint."""

from collections.abc import Callable, Iterator, Sequence

from pydantic import BaseModel, ValidationError

from training.categories import DESCRIPTIONS
from training.config import BaseConfig, MethodsConfig, Recipe, ScratchConfig, SftConfig
from training.data_sources import DataSources
from training.errors import TrainingError
from training.paper_recipes import (
    llama3_8b_derta,
    llama3_8b_refusal,
    llama3_8b_refusal_lora,
    mistral_7b_refusal,
    qwen3_8b_refusal,
)
from training.smollm2_recipes import BASE, smollm2, smollm2_lora

TINY_NOTICE = (
    "This is a tiny model for tests, trained from scratch: it knows nothing, and keeps nobody safe."
)

_SECTIONS = ("model", "adapter", "data", "methods", "sft")


class RecipeError(TrainingError):
    """An unknown recipe, or a setting that it does not have or cannot take."""


def tiny() -> Recipe:
    """A tiny model from nothing, on records of one's own: for tests, and to compare methods.

    All the words that it knows are the records', so they are gone through more than once.
    """
    return Recipe(
        name="tiny",
        summary="a tiny model from scratch on records of one's own: for tests, in a minute",
        data=DataSources(categories=tuple(DESCRIPTIONS), notice=TINY_NOTICE),
        model=ScratchConfig(
            vocab_size=2048,
            hidden_size=128,
            intermediate_size=352,
            layers=2,
            heads=2,
            initializer_range=0.05,
            temperature=0.3,
        ),
        methods=MethodsConfig(decision_weight=0.0),  # copies of the decision, below, weigh enough
        sft=SftConfig(
            epochs=2,
            batch_size=32,
            learning_rate=3e-3,
            adam_beta2=0.98,
            weight_decay=0.05,
            warmup=0.05,
            max_length=128,
            loss_on="all",
            decision_copies=1,
        ),
    )


def frozen() -> Recipe:
    """A dial on a model of one's own, whose weights stay as they are, on records of one's own.

    The base is SmolLM2's file until `model.base` names another.
    """
    return smollm2().model_copy(
        update={
            "name": "frozen",
            "summary": "a dial on a frozen model of one's own: model.base, data.train",
            "data": DataSources(),
            "model": BaseConfig(base=BASE.base),
        }
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "smollm2-lora": smollm2_lora,
    "smollm2": smollm2,
    "frozen": frozen,
    "tiny": tiny,
    "llama3-8b-refusal": llama3_8b_refusal,
    "llama3-8b-refusal-lora": llama3_8b_refusal_lora,
    "llama3-8b-derta": llama3_8b_derta,
    "mistral-7b-refusal": mistral_7b_refusal,
    "qwen3-8b-refusal": qwen3_8b_refusal,
}


def find(name: str) -> Recipe:
    """The recipe `name`. Raises RecipeError, listing the known ones."""
    if name not in RECIPES:
        raise RecipeError(f"recipe {name!r} is unknown; known are {', '.join(RECIPES)}")
    return RECIPES[name]()


def sections(recipe: Recipe) -> dict[str, BaseModel]:
    """The recipe's groups of settings; its data are one only where they have settings."""
    found = {name: getattr(recipe, name) for name in _SECTIONS}
    return {name: section for name, section in found.items() if isinstance(section, BaseModel)}


def settings(recipe: Recipe) -> Iterator[tuple[str, object]]:
    """What `override` can set: each key, such as `sft.epochs`, with its value."""
    for name, section in sections(recipe).items():
        for field, value in section:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            yield f"{name}.{field}", shown


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """The recipe with assignments such as `sft.epochs=2` applied.

    Raises RecipeError with every faulty assignment and what is allowed instead.
    """
    known = dict(settings(recipe))
    values: dict[str, dict[str, str]] = {name: {} for name in sections(recipe)}
    faults = []
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            faults.append(f"{assignment!r} is not of the form key=value")
        elif key not in known:
            faults.append(f"setting {key!r} is unknown; known are {', '.join(known)}")
        else:
            section, _, field = key.partition(".")
            values[section][field] = value
    changed: dict[str, BaseModel] = {}
    for name, before in sections(recipe).items():
        try:
            changed[name] = type(before).model_validate(before.model_dump() | values[name])
        except ValidationError as error:
            faults.extend(_faults(name, error))
    if faults:
        raise RecipeError("; ".join(faults))
    return recipe.model_copy(update=changed)


def _faults(section: str, error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        # Of a field that takes several types, the rest of the place names the type.
        key = ".".join([section, *map(str, fault["loc"][:1])])
        # Only a fault of a single field has a value worth showing.
        given = f" {fault['input']!r}" if fault["loc"] else ""
        yield f"{key}{given}: {fault['msg'][0].lower()}{fault['msg'][1:]}"
