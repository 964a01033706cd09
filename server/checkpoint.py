"""A refusal-token checkpoint as the server needs it: manifest, control tokens, policy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vllm.tokenizers import get_tokenizer

from steering.calibration import CalibrationScores
from steering.manifest import Manifest
from steering.policy import Policy, Settings
from steering.tokens import ControlTokens, resolve
from steering.wire import GateConfig


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint's own files say about refusing."""

    path: Path
    manifest: Manifest
    control: ControlTokens
    policy: Policy

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and verify the checkpoint in the folder `path`.

        Raises ManifestError, TokenizerMismatchError or CalibrationError, each with the file and the
        remedy.
        """
        manifest = Manifest.load(path)
        control = resolve(manifest, get_tokenizer(str(path)))
        scores = None
        if manifest.calibration is not None:
            scores = CalibrationScores.load(path, manifest.names)
        return cls(path=path, manifest=manifest, control=control, policy=Policy(manifest, scores))

    def gate_config(self) -> GateConfig:
        """What the gate in the engine needs, with the default policy's thresholds."""
        defaults = self.policy.resolve(Settings()).thresholds
        return GateConfig(control=self.control, defaults=defaults)
