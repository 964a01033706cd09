"""What a checkpoint says of the run that made it, in its folder `run/`.

run/recipe.json        every setting, as it was after --set
run/data.json          records and SHA-256 of each split, counts by category and kind
run/environment.json   versions, device and processes
run/metrics.jsonl      what was logged and measured, a line per entry
"""

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from training.config import Recipe, Splits
from training.records import Record, format_record

FOLDER = "run"
METRICS = "metrics.jsonl"
PACKAGES = (
    "demur",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "deepspeed",
    "bitsandbytes",
    "datasets",
    "tokenizers",
    "safetensors",
)
ANSWERED = "answered"
"""Stands for no category in the counts."""


def write_run_folder(folder: Path, recipe: Recipe, splits: Splits, processes: int) -> None:
    """Write recipe, data and environment into `folder`; the metrics come from the training."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in [
        ("recipe", resolved(recipe)),
        ("data", data_of(splits)),
        ("environment", environment(processes)),
    ]:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


def resolved(recipe: Recipe) -> dict[str, Any]:
    """Every setting of the recipe; its data's too, where they have some."""
    settings = recipe.model_dump(mode="json")
    if isinstance(recipe.data, BaseModel):
        settings["data"] = recipe.data.model_dump(mode="json")
    return settings


def fingerprint(recipe: Recipe, splits: Splits, processes: int) -> str:
    """What the result depends on, as JSON: runs with equal ones may share a work folder."""
    fields = {
        "recipe": recipe.model_dump(mode="json"),
        "manifest": splits.manifest.model_dump(mode="json"),
        "data": {name: digest(records) for name, records in _named(splits).items()},
        # The order of examples depends on how many share them.
        "processes": processes,
    }
    return json.dumps(fields, indent=2) + "\n"


def data_of(splits: Splits) -> dict[str, Any]:
    """Of each split the number of records, their digest, and counts by category and kind."""
    return {
        name: {
            "records": len(records),
            "sha256": digest(records),
            "categories": dict(Counter(record.category or ANSWERED for record in records)),
            "contrast": dict(
                Counter(record.contrast_of for record in records if record.contrast_of)
            ),
            "triples": sum(record.harmful is not None for record in records),
        }
        for name, records in _named(splits).items()
    }


def digest(records: Sequence[Record]) -> str:
    """SHA-256 of the records as JSON lines."""
    found = hashlib.sha256()
    for record in records:
        found.update(format_record(record).encode() + b"\n")
    return found.hexdigest()


def environment(processes: int) -> dict[str, Any]:
    """Versions of Python and of the packages that matter, the device and the processes."""
    accelerator = torch.accelerator.current_accelerator()
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": "cpu" if accelerator is None else _device_name(accelerator),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "packages": dict(filter(None, map(_package, PACKAGES))),
    }


def _package(name: str) -> tuple[str, str] | None:
    try:
        return name, version(name)
    except PackageNotFoundError:
        return None


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else device.type


def _named(splits: Splits) -> Mapping[str, Sequence[Record]]:
    return {"train": splits.train, "calibration": splits.calibration, "test": splits.test}
