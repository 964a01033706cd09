"""Calibration scores of a checkpoint, and what rates and thresholds they tie together.

A score is the log-odds of a refuse token at the deciding position (see `steering.gate`). A rate is
the share of a category's own prompts that are refused. The scores of held-out prompts translate
one into the other.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from steering.gate import decide
from steering.manifest import Manifest, Scope, scores_file
from steering.shapes import FEATURES, tally

COMPLY = "comply"
"""Label of prompts that should be answered."""
COMPLY_INDEX = -1


class CalibrationError(ValueError):
    """The calibration scores of a checkpoint are missing, damaged or of another checkpoint."""


@dataclass(frozen=True, eq=False)
class CalibrationScores:
    """Scores of n held-out prompts for C categories."""

    categories: tuple[str, ...]
    """Category names, in the manifest's order."""
    labels: npt.NDArray[np.int64]
    """[n] index of the category that each prompt belongs to; COMPLY_INDEX for harmless ones."""
    scores: npt.NDArray[np.float32]
    """[n, C] log-odds of every refuse token: at the first position of the answer, or, for the scope
    of every token, the largest over the answer's positions."""
    shapes: npt.NDArray[np.uint8] | None = None
    """[n] shape of every prompt (`steering.shapes`); None in files made before it was kept."""

    def __post_init__(self) -> None:
        expected = (len(self.labels), len(self.categories))
        if self.scores.shape != expected:
            raise CalibrationError(f"scores have shape {self.scores.shape}, not {expected}")
        kinds = (self.labels.dtype.kind, self.scores.dtype.kind)
        if kinds != ("i", "f"):
            raise CalibrationError(
                f"labels are {self.labels.dtype} and scores {self.scores.dtype}: allowed are"
                " integers and floats"
            )
        if np.isnan(self.scores).any():
            raise CalibrationError("scores contain NaN")
        if len(self.labels) and not (
            self.labels.min() >= COMPLY_INDEX and self.labels.max() < len(self.categories)
        ):
            raise CalibrationError(
                f"labels must lie between {COMPLY_INDEX} and {len(self.categories) - 1}"
            )
        if self.shapes is not None:
            self._check_shapes(self.shapes)

    def _check_shapes(self, shapes: npt.NDArray[np.uint8]) -> None:
        known = sum(FEATURES.values())
        if shapes.dtype != np.uint8 or shapes.shape != self.labels.shape:
            raise CalibrationError(
                f"shapes are {shapes.dtype} {shapes.shape}, not uint8 {self.labels.shape}"
            )
        if (shapes & ~np.uint8(known)).any():
            raise CalibrationError(f"shapes are up to {shapes.max()}: the largest is {known}")

    def counts(self) -> dict[str, int]:
        """Number of prompts by label, `comply` last."""
        counts = {
            name: int((self.labels == index).sum()) for index, name in enumerate(self.categories)
        }
        return counts | {COMPLY: int((self.labels == COMPLY_INDEX).sum())}

    def shape_counts(self) -> dict[str, int] | None:
        """Number of prompts by feature, `plain` last; None where shapes are not known."""
        return None if self.shapes is None else tally(self.shapes.tolist())

    def only(self, rows: npt.NDArray[np.bool_]) -> Self:
        """The prompts in the places that `rows` ([n]) names."""
        shapes = None if self.shapes is None else self.shapes[rows]
        return replace(self, labels=self.labels[rows], scores=self.scores[rows], shapes=shapes)

    def of_category(self, category: int) -> npt.NDArray[np.float32]:
        """[n_c] scores for category `category` of the prompts that belong to it, descending."""
        own = self.scores[self.labels == category, category]
        return np.sort(own)[::-1]

    def threshold(self, category: int, rate: float) -> float:
        """Log-odds threshold at which the share `rate` of the category's prompts is refused.

        With the category's n scores in descending order, the threshold is the k-th, k = rate * n
        rounded half up: k of the n calibration prompts reach it, and a new prompt of the category
        does with expected probability k / (n + 1). A k of 0 switches the category off (+inf).

        Raises CalibrationError if the category has no calibration prompts.
        """
        if rate == 0:
            return math.inf
        own = self.of_category(category)
        if not len(own):
            raise CalibrationError(
                f"category {self.categories[category]!r} has no calibration prompts:"
                " set a threshold for it instead of a rate"
            )
        k = wanted_of(rate, len(own))
        return float(own[k - 1]) if k else math.inf

    def refused_shares(self, thresholds: npt.ArrayLike) -> dict[str, float]:
        """Share of each label's calibration prompts that `thresholds` ([C], log-odds) refuse.

        Refused under any category's name counts; a label without prompts is left out.
        """
        refused = decide(self.scores, np.asarray(thresholds, dtype=np.float32)) >= 0
        shares = {}
        for index, name in [*enumerate(self.categories), (COMPLY_INDEX, COMPLY)]:
            own = self.labels == index
            if own.any():
                shares[name] = float(refused[own].mean())
        return shares

    def save(self, checkpoint: Path, scope: Scope = "first_token") -> None:
        """Write the scores of `scope` into the folder `checkpoint`, replacing those there."""
        path = checkpoint / scores_file(scope)
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        arrays = {"labels": self.labels, "scores": self.scores}
        if self.shapes is not None:
            arrays["shapes"] = self.shapes
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()},
            part,
            metadata={"categories": "\n".join(self.categories)},
        )
        part.replace(path)

    @classmethod
    def load(
        cls, checkpoint: Path, categories: tuple[str, ...], scope: Scope = "first_token"
    ) -> Self:
        """Read the scores of `scope` in the folder `checkpoint`; they must be for `categories`.

        Raises CalibrationError when the file is missing or damaged, or has other categories.
        """
        path = checkpoint / scores_file(scope)
        try:
            with safe_open(path, framework="numpy") as file:
                named = tuple((file.metadata() or {}).get("categories", "").split("\n"))
                if named != categories:
                    raise CalibrationError(
                        f"its categories are {', '.join(named)}, the manifest's"
                        f" {', '.join(categories)}"
                    )
                names = file.keys()
                return cls(
                    categories=categories,
                    labels=file.get_tensor("labels"),
                    scores=file.get_tensor("scores"),
                    shapes=file.get_tensor("shapes") if "shapes" in names else None,
                )
        except (OSError, SafetensorError, CalibrationError) as error:
            raise CalibrationError(
                f"{path} cannot be used ({error}). Run demur-calibrate again."
            ) from error


def wanted_of(rate: float, count: int) -> int:
    """How many of `count` prompts a rate refuses: rate * count, rounded half up."""
    return math.floor(rate * count + 0.5)


ScopedScores = Mapping[Scope, CalibrationScores]
"""Calibration scores of each scope that is calibrated."""


def load_scopes(checkpoint: Path, manifest: Manifest) -> ScopedScores:
    """The scores of every scope that the checkpoint was trained for; empty if not calibrated.

    Raises CalibrationError, as `CalibrationScores.load` does.
    """
    if manifest.calibration is None:
        return {}
    return {
        scope: CalibrationScores.load(checkpoint, manifest.names, scope)
        for scope in manifest.scopes
    }
