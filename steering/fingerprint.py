"""Which weights were calibrated: a fingerprint of a checkpoint's safetensors files.

Scores belong to the weights that gave them. After any change of these, the old scores would set
thresholds that mean nothing, and rates would come out wrong without a sign of it.
"""

import hashlib
from pathlib import Path

from steering.manifest import Manifest

WEIGHTS = "*.safetensors"
"""Files of weights in a checkpoint's folder; the calibration's own lie in a folder below."""


class FingerprintError(ValueError):
    """The weights of a checkpoint are not there, or not those that were calibrated."""


def fingerprint(checkpoint: Path) -> str:
    """SHA-256 over the names and the whole content of the weights' files, in hexadecimal.

    Every byte is read, at the speed of the disk. Raises FingerprintError if there are no weights or
    they cannot be read.
    """
    files = sorted(checkpoint.glob(WEIGHTS))
    if not files:
        raise FingerprintError(f"{checkpoint} holds no weights ({WEIGHTS})")
    whole = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise FingerprintError(f"{path} cannot be read ({error})") from error
        whole.update(f"{path.name} {digest.hexdigest()}\n".encode())
    return whole.hexdigest()


def verify(checkpoint: Path, manifest: Manifest) -> None:
    """Check that the checkpoint's weights are those that its calibration scored.

    A checkpoint that is not calibrated, or was before calibrations had fingerprints, passes.
    Raises FingerprintError, naming the remedy, when they are not.
    """
    calibration = manifest.calibration
    if calibration is None or calibration.weights is None:
        return
    found = fingerprint(checkpoint)
    if found != calibration.weights:
        raise FingerprintError(
            f"the weights in {checkpoint} changed after it was calibrated (fingerprint"
            f" {found[:12]}, calibrated {calibration.weights[:12]}), so its scores do not hold for"
            f" them. Run demur-calibrate {checkpoint} PROMPTS.jsonl --force, or put the calibrated"
            " weights back."
        )
