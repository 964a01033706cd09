"""What gives prompts their scores: a checkpoint in transformers, or a running server."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from steering.manifest import Manifest, Scope
from training.errors import TrainingError
from training.records import Prompt

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class ScorerError(TrainingError):
    """What should score prompts cannot be used, or gives no scores."""


class Scorer(Protocol):
    """Anything that scores prompts for a checkpoint."""

    engine: str
    """What computes the scores, for `refusal.json`."""
    dtype: str
    """In which type."""

    def score(self, prompts: Sequence[Prompt], scope: Scope) -> "npt.NDArray[np.float32]":
        """[n, C] score of every category, in the manifest's order.

        At the first position of the answer, or the largest over its positions.
        Raises TrainingError if a prompt cannot be scored.
        """
        ...


class TransformersScorer:
    """Scores by transformers; loads the checkpoint when it is made."""

    engine = "transformers"

    def __init__(
        self,
        checkpoint: Path,
        manifest: Manifest,
        dtype: str,
        *,
        batch_size: int,
        answer_tokens: int,
    ) -> None:
        """answer_tokens: how far answers are written for the scope of every token.

        Raises ScorerError if the checkpoint does not load, or does not fit its manifest.
        """
        # Only now: these imports take seconds.
        from training.loading import control_tokens, load, quiet

        quiet()
        self.dtype = dtype
        self._batch_size, self._answer_tokens = batch_size, answer_tokens
        try:
            self._model, self._tokenizer = load(checkpoint, dtype)
            self._control = control_tokens(manifest, self._tokenizer)
        except (OSError, ValueError) as error:  # ours, and transformers' for what is no model
            raise ScorerError(f"{checkpoint}: {error}") from error

    def score(self, prompts: Sequence[Prompt], scope: Scope) -> "npt.NDArray[np.float32]":
        """As `Scorer` has it. Raises ScoringError if a prompt is too long, and EncodingError."""
        from training.answers import score_answers
        from training.scoring import score_prompts

        parts = self._model, self._tokenizer, self._control, prompts
        if scope == "first_token":
            return score_prompts(*parts, batch_size=self._batch_size)
        return score_answers(*parts, max_tokens=self._answer_tokens, batch_size=self._batch_size)
