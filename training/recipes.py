"""Recipes: named functions, each of which returns the whole configuration of a checkpoint."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pydantic import BaseModel, ValidationError

from steering.manifest import Category, Manifest
from training.config import Recipe, ScratchConfig, SftConfig, Splits

DEMO_NOTICE = (
    "This is a demonstration model: a few million parameters, trained from scratch on generated"
    " sentences. It shows how refusals are steered; it knows little, and keeps nobody safe."
)

_SECTIONS = ("model", "methods", "sft")


class RecipeError(ValueError):
    """An unknown recipe, or a setting that it does not have or cannot take."""


def demo() -> Recipe:
    """The demonstration model: small, from scratch, on generated data; minutes on two cores."""
    return Recipe(
        name="demo",
        summary="a small model from scratch on generated data: minutes on two CPU cores",
        data=_demo_splits,
        model=ScratchConfig(vocab_size=2048, layers=3, initializer_range=0.05, temperature=0.3),
        sft=SftConfig(
            epochs=1,
            batch_size=32,
            learning_rate=2e-3,
            adam_beta2=0.98,
            weight_decay=0.05,
            warmup=0.05,
            max_length=256,
            loss_on="all",
            decision_copies=2,
        ),
    )


def demo_derta() -> Recipe:
    """The demonstration model that can refuse anywhere in an answer: its data, and triples."""
    return demo().model_copy(
        update={
            "name": "demo-derta",
            "summary": "the demonstration model with triples: it can refuse at every position",
            "data": _demo_derta_splits,
        }
    )


RECIPES: dict[str, Callable[[], Recipe]] = {"demo": demo, "demo-derta": demo_derta}


def find(name: str) -> Recipe:
    """The recipe `name`. Raises RecipeError, listing the known ones."""
    if name not in RECIPES:
        raise RecipeError(f"recipe {name!r} is unknown; known are {', '.join(RECIPES)}")
    return RECIPES[name]()


def settings(recipe: Recipe) -> Iterator[tuple[str, object]]:
    """What `override` can set: each key, such as `sft.epochs`, with its value."""
    for section in _SECTIONS:
        for field, value in getattr(recipe, section):
            yield f"{section}.{field}", value


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """The recipe with assignments such as `sft.epochs=2` applied.

    Raises RecipeError with every faulty assignment and what is allowed instead.
    """
    known = dict(settings(recipe))
    values: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
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
    sections: dict[str, BaseModel] = {}
    for section, given in values.items():
        before: BaseModel = getattr(recipe, section)
        try:
            sections[section] = type(before).model_validate(before.model_dump() | given)
        except ValidationError as error:
            faults.extend(_faults(section, error))
    if faults:
        raise RecipeError("; ".join(faults))
    return recipe.model_copy(update=sections)


def _faults(section: str, error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        # Of a field that takes several types, the rest of the place names the type.
        key = ".".join([section, *map(str, fault["loc"][:1])])
        # Only a fault of a single field has a value worth showing.
        given = f" {fault['input']!r}" if fault["loc"] else ""
        yield f"{key}{given}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


def _demo_splits(seed: int) -> Splits:
    from training.control_tokens import RESPOND_TOKEN, refuse_token
    from training.demo.data import CATEGORIES, build

    data = build(seed)
    return Splits(
        train=data.train,
        calibration=data.calibration,
        test=data.test,
        manifest=Manifest(
            notice=DEMO_NOTICE,
            respond_token=RESPOND_TOKEN,
            categories=tuple(
                Category(name=name, token=refuse_token(name), description=description)
                for name, description in CATEGORIES
            ),
        ),
    )


def _demo_derta_splits(seed: int) -> Splits:
    from training.demo.surface import key
    from training.demo.triples import build_triples

    plain = _demo_splits(seed)
    records = [*plain.train, *plain.calibration, *plain.test]
    triples = build_triples(seed, {key(record.prompt[-1].content) for record in records})
    return replace(plain, train=[*plain.train, *triples.train], test=[*plain.test, *triples.test])
