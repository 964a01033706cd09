import subprocess
import sys
from pathlib import Path

import pytest

from training import cli, recipes
from training.config import Recipe
from training.recipes import RECIPES


@pytest.fixture
def known(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recipes.RECIPES, "tiny", lambda: recipe)


@pytest.mark.parametrize(
    "arguments",
    [
        "training.cli --help",
        "training.cli run --help",
        "training.cli recipes",
        "training.cli check --help",
        "training.cli convert --help",
        "training.calibrate --help",
        "training.evaluation.cli --help",
    ],
)
def test_help_comes_without_heavy_imports(arguments: str) -> None:
    script = (
        "import runpy, sys\n"
        "module, *sys.argv[1:] = sys.argv[1:]\n"
        "try: runpy.run_module(module, run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'transformers', 'trl', 'datasets', 'numpy', 'accelerate', 'peft'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script, *arguments.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout


def test_recipes_are_listed_with_their_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recipes"]) == 0
    shown = capsys.readouterr().out
    for name, make in RECIPES.items():
        assert f"{name}: {make().summary}" in shown
    assert "\n  sft.epochs=" in shown


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["dmeo"], "recipe 'dmeo' is unknown; known are smollm2-lora, "),
        (["tiny", "--set", "sft.epoch=1"], "setting 'sft.epoch' is unknown; known are model."),
        (["tiny", "--set", "sft.epochs=x"], "sft.epochs 'x': input should be a valid number"),
        (["scratch", "--set", "data.categories=Safety"], "data.categories 'Safety': string should"),
        (
            ["scratch", "--set", "data.categories="],
            "data.categories (): tuple should have at least",
        ),
        (["scratch", "--set", "data.categories=safety,a,safety"], "'safety' is listed twice"),
    ],
)
def test_faulty_recipes_and_settings(
    arguments: list[str], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *arguments, "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("demur-train: error: ")
    assert fault in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["run"], ["run", "demo", "--output", "x", "--seed", "-1"]],
)
def test_faulty_command_lines_exit_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)


def test_a_run_needs_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "demo"]) == 2
    assert "--output is missing: the folder of the checkpoint, or --dry-run" in (
        capsys.readouterr().err
    )


@pytest.mark.usefixtures("known")
def test_a_dry_run_prints_the_plan(recipe: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "tiny", "--dry-run", "--set", "sft.epochs=1"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"recipe      tiny: {recipe.summary}\n")
    assert "\nsteps       24 of 8 examples, with 1 process\n" in shown
    assert "\n  total " in shown


@pytest.mark.parametrize("more", [["--dry-run"], ["--output", "out"]])
def test_a_recipe_without_its_data_says_what_is_missing(
    more: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = ["--set", "data.test=none.jsonl"]
    assert cli.main(["run", "llama3-8b-refusal", *more, *missing]) == 1
    said = capsys.readouterr().err
    assert "data.train names no source of training records" in said
    assert "none.jsonl: cannot be read" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("known")
def test_a_finished_checkpoint_is_left_alone(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "model.safetensors").stat().st_mtime_ns
    assert cli.main(["run", "tiny", "--output", str(finished)]) == 0
    shown = capsys.readouterr().out
    assert shown == f"{finished} holds a finished checkpoint already; --force trains it anew.\n"
    assert (finished / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.usefixtures("known")
def test_what_stands_in_the_way_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").touch()
    assert cli.main(["run", "tiny", "--output", str(tmp_path)]) == 1
    assert "exists and is no checkpoint" in capsys.readouterr().err


@pytest.mark.usefixtures("known")
def test_the_folder_may_be_the_working_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thesis.txt").touch()
    assert cli.main(["run", "tiny", "--output", "."]) == 1
    assert f"{tmp_path} exists and is no checkpoint" in capsys.readouterr().err


@pytest.mark.usefixtures("known")
def test_seed_and_settings_reach_the_run(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import run

    seen: list[Recipe] = []
    monkeypatch.setattr(run, "train", lambda chosen, *_, **__: seen.append(chosen))
    output = str(tmp_path / "out")
    assert (
        cli.main(["run", "tiny", "--output", output, "--seed", "7", "--set", "sft.epochs=1"]) == 0
    )
    assert seen[0].seed == 7
    assert seen[0].sft == recipe.sft.model_copy(update={"epochs": 1.0})
