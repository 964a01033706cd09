"""A refusal-token checkpoint as the server needs it: manifest, control tokens, policy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vllm.tokenizers import get_tokenizer

from steering.bounds import Bounds
from steering.calibration import ScopedScores, load_scopes
from steering.fingerprint import verify
from steering.intact import check_intact
from steering.manifest import MANIFEST_FILE, Manifest, ManifestError
from steering.policy import Policy
from steering.settings import Settings
from steering.tokens import ControlTokens, resolve
from steering.wire import GateConfig


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint's own files say about refusing."""

    path: Path
    manifest: Manifest
    control: ControlTokens
    scores: ScopedScores
    """Of the calibration prompts; empty if it was not calibrated."""
    policy: Policy
    """Without an operator's bounds."""

    @classmethod
    def load(cls, path: Path, *, verified: bool = False) -> Self:
        """Read and verify the checkpoint in the folder `path`.

        verified: whether this was done before, so that its weights need not be read again.
        Raises ManifestError, DamagedError, TokenizerMismatchError, CalibrationError or
        FingerprintError, each with the file and the remedy.
        """
        manifest = Manifest.load(path)
        if not manifest.scopes:
            raise ManifestError(
                f"{path / MANIFEST_FILE} names no scope: the checkpoint was trained without control"
                " tokens, so nothing steers its refusals. Train it with methods.tokens=category."
            )
        if not verified:
            check_intact(path)
        control = resolve(manifest, get_tokenizer(str(path)))
        scores = load_scopes(path, manifest)
        if scores and not verified:
            verify(path, manifest)
        return cls(path, manifest, control, scores, Policy(manifest, scores))

    def policy_within(self, bounds: Bounds) -> Policy:
        """The policy that keeps an operator's bounds; raises BoundsError if none can."""
        return Policy(self.manifest, self.scores, bounds)

    def gate_config(self, policy: Policy) -> GateConfig:
        """What the gate in the engine needs; `policy` has the thresholds of the default."""
        return GateConfig(control=self.control, defaults=policy.resolve(Settings()).thresholds)
