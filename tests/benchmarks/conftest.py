"""For tests of the benchmarks: what their command lines are given."""

from pathlib import Path

import pytest

from steering.manifest import Category, Manifest


@pytest.fixture
def of_checkpoint(tmp_path: Path) -> list[str]:
    """Options that name a checkpoint, of which there is nothing but the manifest."""
    categories = (Category(name="safety", token="<|refuse|>"),)
    Manifest(respond_token=None, categories=categories).save(tmp_path)
    return ["--checkpoint", str(tmp_path)]
