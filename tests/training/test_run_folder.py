import hashlib
import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training.config import BaseConfig, Recipe
from training.data_sources import DataSources
from training.model_card import model_card
from training.paper_recipes import LLAMA3_8B
from training.recipes import settings
from training.records import Record, write_records
from training.run_folder import FOLDER, data_of, digest, fingerprint, resolved


def read(checkpoint: Path, name: str) -> Any:
    return json.loads((checkpoint / FOLDER / f"{name}.json").read_text())


def test_a_checkpoint_holds_what_its_run_was(finished: Path, recipe: Recipe) -> None:
    assert read(finished, "recipe") == resolved(recipe)
    assert read(finished, "data") == data_of(recipe.data(recipe.seed))
    environment = read(finished, "environment")
    assert environment["packages"]["torch"] == version("torch")
    assert environment["processes"] == 1
    lines = (finished / FOLDER / "metrics.jsonl").read_text().splitlines()
    losses = [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]
    assert float(losses[-1]) < float(losses[0])


def test_nothing_of_the_machine_is_told(finished: Path) -> None:
    for file in [*(finished / FOLDER).iterdir(), finished / "README.md"]:
        assert str(Path.home()) not in file.read_text()
        assert str(finished.parent) not in file.read_text()


def test_the_digest_is_that_of_the_file(records: list[Record], tmp_path: Path) -> None:
    write_records(tmp_path / "records.jsonl", records)
    content = (tmp_path / "records.jsonl").read_bytes()
    assert digest(records) == hashlib.sha256(content).hexdigest()


def test_counts_by_category_and_contrast(recipe: Recipe, records: list[Record]) -> None:
    splits = replace(recipe.data(0), train=records[:6], test=[])
    data = data_of(splits)
    assert data["train"]["records"] == 6
    assert data["train"]["categories"] == {"safety": 2, "answered": 3, "temporal": 1}
    assert data["train"]["contrast"] == {"safety": 2}
    assert data["test"] == {
        "records": 0,
        "sha256": hashlib.sha256().hexdigest(),
        "categories": {},
        "contrast": {},
        "triples": 0,
    }


def test_settings_data_and_processes_make_the_fingerprint(recipe: Recipe) -> None:
    splits = recipe.data(0)
    first = fingerprint(recipe, splits, processes=1)
    assert fingerprint(recipe, recipe.data(0), processes=1) == first
    others = [
        fingerprint(recipe.model_copy(update={"seed": 1}), splits, processes=1),
        fingerprint(recipe, replace(splits, train=splits.train[1:]), processes=1),
        fingerprint(recipe, splits, processes=2),
    ]
    assert first not in others
    assert len(set(others)) == 3


def test_files_are_settings_of_the_run_and_not_of_the_card(recipe: Recipe) -> None:
    splits = recipe.data(0)
    chosen = recipe.model_copy(update={"data": DataSources(train=("mine/secret.jsonl",))})
    assert resolved(chosen)["data"]["train"] == ["mine/secret.jsonl"]
    assert "secret" not in model_card(chosen, splits)


def test_the_card_names_the_base_and_not_where_it_lies(recipe: Recipe, tmp_path: Path) -> None:
    def card(model: BaseConfig) -> str:
        return model_card(recipe.model_copy(update={"model": model}), recipe.data(0))

    shown = card(LLAMA3_8B)
    assert '\nbase_model: "meta-llama/Meta-Llama-3-8B"\n' in shown
    assert "| `model.base` | meta-llama/Meta-Llama-3-8B |" in shown
    assert "| `model.template` | llama3 |" in shown
    # As it is, the token's bars would end the cell.
    assert "| `model.reserved_tokens` | <&#124;reserved_special_token_{}&#124;> |" in shown
    own = card(BaseConfig(base=str(tmp_path), template=str(tmp_path / "mine.jinja")))
    assert str(tmp_path) not in own
    assert "base_model" not in own
    assert "| `model.base` | a local folder |" in own
    assert "| `model.template` | a Jinja file |" in own


def test_the_card_of_a_model_without_a_respond_token(recipe: Recipe) -> None:
    splits = recipe.data(0)
    without = splits.manifest.model_copy(update={"respond_token": None})
    card = model_card(recipe, replace(splits, manifest=without))
    assert "A refusal begins with a control token" in card
    assert "Every answer begins" not in card
    assert "Every answer begins with a control token" in model_card(recipe, splits)


def test_the_card_tells_method_data_calibration_use_and_limits(
    finished: Path, recipe: Recipe
) -> None:
    card = (finished / "README.md").read_text()
    splits = recipe.data(recipe.seed)
    assert card == model_card(recipe, splits)
    titles = [line for line in card.splitlines() if line.startswith("## ")]
    assert [title[3:] for title in titles] == [
        *("Method", "Data", "Calibration", "Intended use", "Limits")
    ]
    for key, value in settings(recipe):
        assert f"| `{key}` | {value} |" in card
    refused = sum(record.category == "safety" for record in splits.train)
    assert f"| safety | {refused} | " in card
    assert f"{len(splits.calibration)} held-out prompts" in card
    assert "base_model" not in card
    bare = model_card(recipe, replace(splits, calibration=[]))
    assert "The recipe has no held-out prompts for it." in bare


def test_the_card_of_a_baseline_promises_no_dial(recipe: Recipe) -> None:
    splits = recipe.data(0)
    bare = replace(splits, manifest=splits.manifest.model_copy(update={"scopes": ()}))
    card = model_card(recipe, bare)
    assert "trained without any" in card
    assert "`demur-serve` cannot serve it" in card
    assert "## Calibration" not in card
    assert "Every answer begins with a control token" not in card


def test_the_card_names_derta_where_there_are_triples(recipe: Recipe) -> None:
    splits = recipe.data(0)
    assert "DeRTa" not in model_card(recipe, splits)
    triples = [replace(record, harmful="Take it.") for record in splits.train if record.category]
    card = model_card(recipe, replace(splits, train=[*splits.train, *triples]))
    assert "DeRTa" in card
    assert f"| of these triples | {len(triples)} | 0 | 0 |" in card
