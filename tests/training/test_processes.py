"""Two processes on the CPU, as `accelerate launch` starts them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file

from training.config import Recipe
from training.recipes import override
from training.run import train
from training.run_folder import FOLDER, METRICS

CONFIGS = Path(__file__).parents[2] / "training" / "accelerate"
SETTINGS = (
    *("sft.batch_size=2", "sft.epochs=1", "sft.log_every=1", "sft.save_every=30"),
    "sft.eval_share=0.25",  # leaves a multiple of four to train on
)

# A process but the main one fails if it writes anything but its part of the trainer's saves.
CHILD = """
import os, runpy, sys
from pathlib import Path

output = Path(sys.argv[sys.argv.index("--output") + 1])

def watch(event, arguments):
    writes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir") or (
        event == "open" and isinstance(arguments[1], str) and set("wax+") & set(arguments[1])
    )
    if writes and str(output) in str(arguments[0]) and "/saves" not in str(arguments[0]):
        print(f"WRITES: {event} {arguments[0]}", file=sys.stderr, flush=True)
        os._exit(9)

if os.environ["RANK"] != "0":
    sys.addaudithook(watch)
from training import cli, recipes
recipes.RECIPES["toy"] = runpy.run_path(sys.argv[1])["tiny"]
sys.exit(cli.main(sys.argv[2:]))
"""


def logged(checkpoint: Path, name: str) -> dict[int, float]:
    lines = (checkpoint / FOLDER / METRICS).read_text().splitlines()
    return {entry["step"]: entry[name] for entry in map(json.loads, lines) if name in entry}


def test_two_processes_train_as_one_does(recipe: Recipe, tmp_path: Path) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    # The same four examples per step: two batches one after the other, or one in each process.
    train(override(recipe, [*SETTINGS, "sft.gradient_accumulation=2"]), alone)
    run = launch(tmp_path, "run", "toy", "--output", str(shared), *sets(SETTINGS))
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("is finished") == 1
    assert run.stderr.count("Encoding") == 1
    assert "WRITES" not in run.stderr
    steps = len(logged(alone, "loss"))
    assert list(logged(alone, "eval_loss")) == [30, steps]
    for name in ("loss", "eval_loss", "eval_loss_contrast", "eval_auc"):
        expected = logged(alone, name)
        assert logged(shared, name) == pytest.approx(expected, rel=1e-3), name
    one, two = (load_file(folder / "model.safetensors") for folder in (alone, shared))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-2, atol=1e-4)
    environment = json.loads((shared / FOLDER / "environment.json").read_text())
    assert environment["processes"] == 2
    assert not shared.with_name("shared.part").exists()


def test_faults_are_told_once(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    run = launch(tmp_path, "run", "toy", "--output", str(tmp_path / "out"))
    assert run.returncode != 0
    assert run.stderr.count("exists and is no checkpoint") == 1


@pytest.mark.skipif(torch.accelerator.is_available(), reason="with a GPU they find each other")
def test_processes_that_do_not_find_each_other_stop(tmp_path: Path) -> None:
    run = launch(tmp_path, "run", "toy", "--output", str(tmp_path / "out"), cpu=False)
    assert run.returncode != 0
    assert "2 processes were started, which do not find each other" in run.stderr
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_known_to_accelerate(config: Path) -> None:
    # Raises for a key that accelerate does not know.
    loaded = load_config_from_file(str(config))
    assert loaded.mixed_precision == "no"
    assert loaded.num_machines == 1


def sets(settings: tuple[str, ...]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def launch(folder: Path, *arguments: str, cpu: bool = True) -> subprocess.CompletedProcess[str]:
    script = folder / "child.py"
    script.write_text(CHILD)
    conftest = Path(__file__).with_name("conftest.py")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "accelerate.commands.launch"]
    launcher += ["--config_file", str(CONFIGS / "ddp.yaml")]
    launcher += ["--num_processes", "2", "--main_process_port", str(port)]
    return subprocess.run(
        [*launcher, str(script), str(conftest), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ
        | {"PYTHONPATH": str(CONFIGS.parents[1]), "OMP_NUM_THREADS": "1"}
        | {"ACCELERATE_USE_CPU": str(cpu).lower()},
    )
