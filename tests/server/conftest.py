import math
from pathlib import Path

import numpy as np
import pytest

from server.checkpoint import Checkpoint
from steering.calibration import COMPLY_INDEX, CalibrationScores
from steering.manifest import Calibration, Category, Manifest
from steering.policy import Policy
from steering.tokens import ControlTokens

INF = math.inf
MANIFEST = Manifest(
    respond_token="<|respond|>",
    categories=(
        Category(name="safety", token="<|refuse:safety|>"),
        Category(name="temporal", token="<|refuse:temporal|>"),
    ),
    calibration=Calibration(engine="transformers", dtype="float32", prompts={}),
)
SCORES = CalibrationScores(
    categories=MANIFEST.names,
    labels=np.array([0, 0, 1, 1, COMPLY_INDEX]),
    scores=np.array([[3, -9], [1, -9], [-9, 2], [-9, 4], [-9, -9]], dtype=np.float32),
)


@pytest.fixture
def checkpoint() -> Checkpoint:
    return Checkpoint(
        path=Path("demo"),
        manifest=MANIFEST,
        control=ControlTokens(respond=1, refuse=(2, 3)),
        policy=Policy(MANIFEST, SCORES),
    )
