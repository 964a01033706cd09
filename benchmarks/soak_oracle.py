"""What the gate should decide: scores by transformers, thresholds by the policy, as calibrated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from steering.calibration import CalibrationScores
from steering.gate import decide
from steering.manifest import Manifest
from steering.policy import Policy
from steering.settings import Settings
from training.datasets.load import load_records
from training.export import TEST_PROMPTS
from training.loading import control_tokens, load
from training.records import Prompt
from training.scoring import score_prompts

ROUNDING = 1e-3
"""Log-odds: nearer to a threshold the engine's own rounding decides (tests/e2e/test_rates.py)."""


@dataclass(frozen=True)
class Expected:
    """What one request should come to."""

    category: str | None
    near: bool
    """Whether a score lies so near its threshold that rounding may decide otherwise."""


class Oracle:
    """Prompts that neither training nor calibration saw, with what each setting makes of them."""

    def __init__(
        self,
        manifest: Manifest,
        policy: Policy,
        prompts: Sequence[Prompt],
        scores: npt.NDArray[np.float32],
    ) -> None:
        self.names = manifest.names
        self.prompts = prompts
        self._policy = policy
        self._scores = scores
        """[n, C] log-odds at the first position."""

    @classmethod
    def of(cls, checkpoint: Path, prompts: int) -> "Oracle":
        """Score the first so many of the checkpoint's test prompts."""
        manifest = Manifest.load(checkpoint)
        calibration = CalibrationScores.load(checkpoint, manifest.names)
        policy = Policy(manifest, {"first_token": calibration})
        records = load_records([str(checkpoint / TEST_PROMPTS)], categories=manifest.names)
        chosen = records[:: max(1, len(records) // prompts)][:prompts]
        model, tokenizer = load(checkpoint)
        control = control_tokens(manifest, tokenizer)
        asked = [record.prompt for record in chosen]
        scores = score_prompts(model, tokenizer, control, asked)
        return cls(manifest, policy, asked, scores)

    def expected(self, prompt: int, settings: Mapping[str, Any]) -> Expected:
        """The decision for a prompt (by its number) under a request's own settings."""
        asked = Settings(settings.get("refusal_rates"), settings.get("refusal_thresholds"))
        thresholds = np.array(self._policy.resolve(asked).thresholds, dtype=np.float32)
        scores = self._scores[prompt]
        decided = int(decide(scores[None], thresholds)[0])
        near = bool((np.abs(scores - thresholds) < ROUNDING).any())
        return Expected(None if decided < 0 else self.names[decided], near)
