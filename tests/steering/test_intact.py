import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from steering.intact import DamagedError, check_intact

Damage = Callable[[bytes], bytes]
WAYS: dict[str, Damage] = {
    "half": lambda content: content[: len(content) // 2],
    "short of a byte": lambda content: content[:-1],
    "empty": lambda _: b"",
    "garbage": lambda content: b"\x93" * len(content),
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text(json.dumps({"name": name}))
    for part in (1, 2):
        weights = {"layer": np.full(100, part, dtype=np.float32)}
        save_file(weights, tmp_path / f"model-0000{part}-of-00002.safetensors")
    return tmp_path


def test_whole_files_pass(checkpoint: Path) -> None:
    check_intact(checkpoint)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "model-00002-of-00002.safetensors"]
)
def test_a_damaged_file_is_named(checkpoint: Path, name: str, way: str) -> None:
    path = checkpoint / name
    path.write_bytes(WAYS[way](path.read_bytes()))
    with pytest.raises(DamagedError, match=f"{name} is damaged or missing .*: copy the checkpoint"):
        check_intact(checkpoint)


def test_what_every_checkpoint_has(checkpoint: Path) -> None:
    (checkpoint / "config.json").unlink()
    with pytest.raises(DamagedError, match=r"config.json is damaged or missing \(.*No such file"):
        check_intact(checkpoint)
    for path in checkpoint.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(DamagedError, match="holds no weights"):
        check_intact(checkpoint)
