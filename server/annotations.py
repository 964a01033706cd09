"""What a response says about the gate, beside OpenAI's own fields."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from server.schema import ChatRequest, RefusalDetails, RefusalSettings, probabilities
from server.turn import Choice, Turn


@dataclass(frozen=True)
class Annotations:
    """Makes them for one checkpoint."""

    names: tuple[str, ...]
    """Of the categories, in the manifest's order."""
    content_filter: bool = False
    """Whether choices carry `content_filter_results`, too."""

    def of_choice(self, choice: Choice, turn: Turn) -> dict[str, Any]:
        """What was decided for one choice, by field."""
        details = self.details(choice, turn.log_odds)
        found = {"refusal_details": details}
        if self.content_filter:
            found["content_filter_results"] = {
                name: dict.fromkeys(("filtered", "detected"), name == details["category"])
                for name in self.names
            }
        return found

    def details(self, choice: Choice, log_odds: Sequence[float] | None = None) -> dict[str, Any]:
        """`RefusalDetails` of one choice, as JSON has it; log_odds: [C], where asked for."""
        details = RefusalDetails(
            refused=choice.refused,
            category=None if choice.category is None else self.names[choice.category],
            position=choice.position if choice.refused else None,
        )
        if choice.from_template:
            details.text = "template"
        if log_odds is not None:
            details.scores = probabilities(self.names, log_odds)
            details.log_odds = dict(zip(self.names, log_odds, strict=True))
        return details.model_dump(exclude_unset=True)

    def of_request(self, request: ChatRequest) -> RefusalSettings:
        """What the request's settings came to."""
        turn = request.turn
        return RefusalSettings.of(request.settings, turn.steering, self.names, turn.scope)
