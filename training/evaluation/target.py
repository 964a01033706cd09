"""What is evaluated: something that can be asked, at a setting of the dial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from steering.manifest import Scope
from training.errors import TrainingError
from training.records import Prompt

PromptOrText: TypeAlias = Prompt | str
"""A conversation up to the answer; or plain text, which goes on without a chat template."""

SERVER_KEY = "OPENAI_API_KEY"
"""Environment variable with the key of a running server."""


class EvalError(TrainingError):
    """Something cannot be measured as asked."""


@dataclass(frozen=True)
class Dial:
    """How a request is steered: the refusal fields of the HTTP interface."""

    rates: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Probabilities."""
    scope: Scope | None = None
    """None: a server's own default, and the first token of a checkpoint."""

    def turned(self, thresholds: Mapping[str, float]) -> "Dial":
        """The dial with some categories at other thresholds than they had."""
        rates = {name: rate for name, rate in self.rates.items() if name not in thresholds}
        return replace(self, rates=rates, thresholds={**self.thresholds, **thresholds})

    def fields(self) -> dict[str, object]:
        """The fields of a request; none for what is left at the default."""
        found: dict[str, object] = {}
        if self.rates:
            found["refusal_rates"] = dict(self.rates)
        if self.thresholds:
            found["refusal_thresholds"] = dict(self.thresholds)
        if self.scope is not None:
            found["refusal_scope"] = self.scope
        return found


@dataclass(frozen=True)
class Reply:
    """What came back for one prompt."""

    refused: bool | None
    """None where nobody can tell: the request failed, or the judge gave no verdict."""
    category: str | None = None
    """In whose name it was refused, where tokens tell."""
    position: int | None = None
    """Tokens (or, told by phrases, characters) of the answer before the refusal."""
    text: str = ""
    """Of the answer or the refusal; empty where only the decision was asked for."""
    scores: tuple[float, ...] | None = None
    """One per category, in the target's order: the larger, the rather refused."""
    fault: str = ""
    """Why there is no reply, or no verdict on it."""


class Target(Protocol):
    """A server or a checkpoint."""

    @property
    def name(self) -> str:
        """How reports call it."""
        ...

    @property
    def categories(self) -> tuple[str, ...]:
        """What the dial turns; empty for a model without refusal tokens."""
        ...

    def ask(self, prompts: Sequence[PromptOrText], dial: Dial, label: str) -> list[Reply]:
        """Replies to the prompts, in their order; `label` names the progress.

        Raises EvalError if the target cannot be asked at all.
        """
        ...
