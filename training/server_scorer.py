"""Scores from a running `demur-serve`, through HTTP: by the engine and dtype that serve."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from openai.types.chat import ChatCompletion

from steering.manifest import Manifest, Scope
from training.evaluation.pool import Pool
from training.records import Prompt
from training.scorer import ScorerError

if TYPE_CHECKING:
    import numpy.typing as npt

CATEGORIES = "refusal/categories"


class ServerScorer:
    """Asks for a dry run with scores for each prompt; the server must serve this checkpoint."""

    engine = "vllm"

    def __init__(self, pool: Pool, manifest: Manifest, scopes: Sequence[Scope]) -> None:
        """Ask the server what it is. scopes: those that it will be asked to score for.

        Raises EvalError if it cannot be asked, and ScorerError if it has other categories, or for
        another scope than that of the first token.
        """
        if others := [scope for scope in scopes if scope != "first_token"]:
            raise ScorerError(
                "a server gives scores of an answer's first position only, and this checkpoint"
                f" is calibrated for {others[0]}, too: leave out --server"
            )
        self._pool = pool
        self._names = manifest.names
        self._model = pool.model()
        about = pool.get(CATEGORIES)
        served = tuple(each["name"] for each in about["data"])
        if served != self._names:
            raise ScorerError(
                f"the server's categories are {', '.join(served)}, the checkpoint's"
                f" {', '.join(self._names)}"
            )
        self.dtype: str = about["dtype"]

    def score(self, prompts: Sequence[Prompt], scope: Scope) -> "npt.NDArray[np.float32]":
        """As `Scorer` has it, for the scope of the first token. Raises EvalError, ScorerError."""
        assert scope == "first_token", scope
        bodies = [self._body(prompt) for prompt in prompts]
        answers = self._pool.ask(bodies, "scoring")
        rows = [self._scores(index, answer) for index, answer in enumerate(answers)]
        return np.array(rows, dtype=np.float32)

    def _body(self, prompt: Prompt) -> dict[str, object]:
        return {
            "model": self._model,
            **prompt.fields(),
            "extra_body": {"dry_run": True, "refusal_scores": True},
        }

    def _scores(self, index: int, answer: ChatCompletion | str) -> list[float]:
        if isinstance(answer, str):
            raise ScorerError(f"the server turns prompt {index + 1} down: {answer}")
        details: dict[str, Any] = getattr(answer.choices[0], "refusal_details", None) or {}
        found: dict[str, float] | None = details.get("log_odds")
        if found is None:
            raise ScorerError(f"the server gives no scores: its answer has {answer.choices[0]}")
        return [found[name] for name in self._names]
