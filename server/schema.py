"""The request and response of `/v1/chat/completions`: OpenAI's and vLLM's, with a dial."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ModelWrapValidatorHandler, model_validator
from vllm.config import ModelConfig
from vllm.entrypoints.generate.base.protocol import DeltaMessage
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.parser import Parser
from vllm.renderers import TokenizeParams
from vllm.sampling_params import SamplingParams

from server.dial_fields import DialFields
from server.turn import Turn
from steering.manifest import RefusalText, Scope
from steering.settings import Settings, Steering, probability_of
from steering.wire import RowSettings


class ChatRequest(ChatCompletionRequest, DialFields):
    """A chat-completions request that may say how much to refuse."""

    refusal_scores: bool = Field(
        default=False,
        description="Give every category's probability at the answer's first position.",
    )
    dry_run: bool = Field(
        default=False,
        description="Say what would be decided at the answer's first position; write no answer.",
    )
    refusal_text: RefusalText | None = Field(
        default=None,
        description=(
            "Whose words a refusal has: the model's own, or a template's, which is sent at once and"
            " costs one token. Left out, the operator's default."
        ),
    )
    refusal_language: str | None = Field(
        default=None,
        description="Language of the template; left out, the templates' default.",
    )

    @cached_property
    def turn(self) -> Turn:
        """What the server knows of this request since it was admitted.

        `begin` sets it. It is read several times a request, so it is no private attribute of
        pydantic's, which a Python function looks up.
        """
        raise RuntimeError("a request went on towards the engine without being admitted")

    @property
    def admitted(self) -> bool:
        """Whether it was, and so has its turn."""
        return "turn" in vars(self)

    def begin(self, turn: Turn) -> None:
        """Note that the request was admitted."""
        self.turn = turn

    @property
    def is_decided_ahead(self) -> bool:
        """Whether its decision needs a step before the answer's; known once it is rendered.

        No respond token holds its grammar back, which would mask the refuse tokens. The grammar may
        be one that vLLM's parsers bring for tools.
        """
        return self.turn.control.respond is None and self.extract_structured_outputs() is not None

    @model_validator(mode="before")
    @classmethod
    def _render_earlier_refusals(cls, data: Any) -> Any:
        """An assistant turn that carries `refusal` instead of `content` is rendered with it.

        This is what OpenAI's clients send back after a refusal.
        """
        if not isinstance(data, dict) or not isinstance(data.get("messages"), list):
            return data
        return data | {"messages": [_with_refusal_as_content(turn) for turn in data["messages"]]}

    @model_validator(mode="wrap")
    @classmethod
    def _name_wrong_types(cls, data: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        """vLLM (0.32) looks into some fields before their types are checked: a 400, not a 500."""
        try:
            return check(data)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"a field has the wrong type: {error}") from error

    def to_sampling_params(
        self, max_tokens: int, default_sampling_params: dict[str, Any]
    ) -> SamplingParams:
        """vLLM's sampling parameters, with the thresholds and room for the control token.

        Candidates for `top_logprobs` are asked for in excess, since control tokens are taken out.
        A refusal that has a template's words ends at its refuse token; one that was decided ahead
        meets no grammar.
        """
        turn = self.turn
        params = super().to_sampling_params(max_tokens + turn.room, default_sampling_params)
        if turn.ahead is not None and turn.ahead.category is not None:
            params.structured_outputs = None
        turn.bias.apply(params)
        turn.shows_special_tokens = not self.skip_special_tokens
        params.extra_args = RowSettings(
            turn.thresholds, turn.every_token, tuple(turn.bias.tokens.items())
        ).to_extra_args()
        if params.logprobs is not None and params.logprobs > 0:
            params.logprobs += len(turn.control.ids)
        if turn.templates is not None:
            # Not by the constructor, which (vLLM 0.32) would let a grammar end at them, too.
            params.stop_token_ids = [*(params.stop_token_ids or ()), *turn.control.refuse]
        return params

    def resolve_reasoning_ended(
        self, parser: Parser | None, prompt_token_ids: list[int]
    ) -> bool | None:
        """Leave it to the engine where its parser counts the respond token as reasoning."""
        if self.turn.control.respond is not None:
            return None
        return super().resolve_reasoning_ended(parser, prompt_token_ids)

    def build_tok_params(self, model_config: ModelConfig) -> TokenizeParams:
        """vLLM's limits, with room for the control token and one token of text after it."""
        params = super().build_tok_params(model_config)
        room = self.turn.room
        return replace(params, max_output_tokens=max(params.max_output_tokens, 1) + room)


class RefusalSettings(BaseModel):
    """Echo of what was asked for and what it came to; stands in every response."""

    requested_rates: dict[str, float] | float | None
    requested_thresholds: dict[str, float] | None
    requested_budget: float | None
    """Share of harmless prompts that may be refused."""
    budget_rate: float | None
    """The rate that the budget came to, the same for each category that it is spent on."""
    effective_rates: dict[str, float] | None
    """Share of each category's calibration prompts refused; None if not calibrated."""
    over_refusal: float | None
    """Share of harmless calibration prompts refused; None if not known."""
    thresholds: dict[str, float]
    """Probability from which on each category refuses; 1 is off, 0 refuses everything."""
    scope: Scope
    warnings: list[str]
    """What does not come out as asked, a sentence each."""

    @classmethod
    def of(
        cls, settings: Settings, steering: Steering, categories: tuple[str, ...], scope: Scope
    ) -> "RefusalSettings":
        """The echo for a request."""
        rates, thresholds = settings.rates, settings.thresholds
        return cls(
            requested_rates=rates if rates is None or isinstance(rates, float) else dict(rates),
            requested_thresholds=None if thresholds is None else dict(thresholds),
            requested_budget=None if settings.budget is None else settings.budget.share,
            budget_rate=steering.budget_rate,
            effective_rates=(
                None if steering.effective_rates is None else dict(steering.effective_rates)
            ),
            over_refusal=steering.over_refusal,
            thresholds=probabilities(categories, steering.thresholds),
            scope=scope,
            warnings=list(steering.warnings),
        )


def probabilities(categories: tuple[str, ...], scores: Sequence[float]) -> dict[str, float]:
    """The probability of every category's refuse token; scores: [C] log-odds."""
    return {name: probability_of(score) for name, score in zip(categories, scores, strict=True)}


class RefusalDetails(BaseModel):
    """What the gate decided for one choice."""

    refused: bool
    category: str | None
    """The category whose refuse token was chosen; None for an answer."""
    position: int | None
    """Where in the answer, in tokens that the client sees, the refusal begins; None for an
    answer."""
    text: Literal["template"] | None = None
    """Whether the refusal's text is a template; left out where it is the model's own."""
    scores: dict[str, float] | None = None
    """Probability of every category's refuse token at the answer's first position, if asked for."""
    log_odds: dict[str, float] | None = None
    """The same as log p - log(1 - p), which does not round to 0 or 1: what thresholds come from."""


class RefusalDelta(DeltaMessage):
    """A piece of a refusal's text, streamed."""

    refusal: str | None = None


def _with_refusal_as_content(turn: Any) -> Any:
    if not isinstance(turn, dict) or turn.get("role") != "assistant":
        return turn
    refusal = turn.get("refusal")
    if not isinstance(refusal, str) or turn.get("content"):
        return turn
    rest = {key: value for key, value in turn.items() if key != "refusal"}
    return rest | {"content": refusal}
