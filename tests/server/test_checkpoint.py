from pathlib import Path

import pytest

from server.checkpoint import Checkpoint
from steering.manifest import ManifestError
from tests.server.conftest import MANIFEST


def test_a_checkpoint_without_trained_control_tokens_is_not_served(tmp_path: Path) -> None:
    MANIFEST.model_copy(update={"scopes": ()}).save(tmp_path)
    with pytest.raises(ManifestError, match=r"refusal\.json names no scope.*nothing steers"):
        Checkpoint.load(tmp_path)
