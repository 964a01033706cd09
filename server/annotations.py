"""What a response says about the gate, beside OpenAI's own fields."""

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
        category = None if choice.category is None else self.names[choice.category]
        details = RefusalDetails(
            refused=choice.refused,
            category=category,
            position=choice.position if choice.refused else None,
        )
        shown = details.model_dump(exclude={"scores", "log_odds"})
        if turn.log_odds is not None:
            shown["scores"] = probabilities(self.names, turn.log_odds)
            shown["log_odds"] = dict(zip(self.names, turn.log_odds, strict=True))
        found = {"refusal_details": shown}
        if self.content_filter:
            found["content_filter_results"] = {
                name: {"filtered": name == category, "detected": name == category}
                for name in self.names
            }
        return found

    def of_request(self, request: ChatRequest) -> RefusalSettings:
        """What the request's settings came to."""
        turn = request.turn
        return RefusalSettings.of(request.settings, turn.steering, self.names, turn.scope)
