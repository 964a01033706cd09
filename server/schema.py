"""The request and response of `/v1/chat/completions`: OpenAI's and vLLM's, with a dial."""

from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)
from vllm.config import ModelConfig
from vllm.entrypoints.generate.base.protocol import DeltaMessage
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.exceptions import VLLMValidationError
from vllm.renderers import TokenizeParams
from vllm.sampling_params import SamplingParams

from server.turn import Turn
from steering.manifest import Scope
from steering.settings import Settings, Steering, probability_of
from steering.wire import RowSettings

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _check_rates(value: Any) -> Any:
    if value is None or isinstance(value, dict):
        return _check_shares("refusal_rates", value)
    return _share("refusal_rates", value, "or a map from categories to such numbers, ")


def _check_thresholds(value: Any) -> Any:
    return _check_shares("refusal_thresholds", value)


def _check_shares(field: str, value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise VLLMValidationError(
            f"{field} must be a map from categories to numbers between 0 and 1, not {value!r}",
            parameter=field,
        )
    return {name: _share(f"{field}.{name}", share) for name, share in value.items()}


def _share(path: str, value: Any, otherwise: str = "") -> float:
    # JSON's true is Python's 1, and a number in quotes is a client's mistake: say so.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise VLLMValidationError(
            f"{path} must be a number between 0 and 1, {otherwise}not {value!r}",
            parameter=path.split(".")[0],
        )
    return float(value)


class ChatRequest(ChatCompletionRequest):
    """A chat-completions request that may say how much to refuse."""

    refusal_rates: Annotated[Share | dict[str, Share] | None, BeforeValidator(_check_rates)] = (
        Field(
            default=None,
            description=(
                "Share of each category's prompts to refuse, between 0 (off) and 1: one number for"
                " all categories, or a map by category. Categories left out keep the default."
            ),
        )
    )
    refusal_thresholds: Annotated[dict[str, Share] | None, BeforeValidator(_check_thresholds)] = (
        Field(
            default=None,
            description=(
                "Probability of a category's refuse token from which on the prompt is refused:"
                " 0 refuses every prompt, 1 none."
            ),
        )
    )

    refusal_scope: Scope | None = Field(
        default=None,
        description=(
            "Where the answer may be refused: at its first token only (the default, unless the"
            " operator has another), or at every token."
        ),
    )

    _turn: Turn | None = PrivateAttr(default=None)

    @property
    def turn(self) -> Turn:
        """What the server knows of this request since it was admitted."""
        if self._turn is None:
            raise RuntimeError("a request went on towards the engine without being admitted")
        return self._turn

    def begin(self, turn: Turn) -> None:
        """Note that the request was admitted."""
        self._turn = turn

    @property
    def settings(self) -> Settings:
        """What the client asks of the gate."""
        return Settings(rates=self.refusal_rates, thresholds=self.refusal_thresholds)

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
        """
        params = super().to_sampling_params(max_tokens + 1, default_sampling_params)
        turn = self.turn
        turn.bias.apply(params)
        turn.shows_special_tokens = not self.skip_special_tokens
        params.extra_args = RowSettings(
            turn.steering.thresholds, turn.every_token, tuple(turn.bias.tokens.items())
        ).to_extra_args()
        if params.logprobs is not None and params.logprobs > 0:
            params.logprobs += len(turn.control.ids)
        return params

    def resolve_reasoning_ended(self, *_: Any) -> None:
        """Leave it to the engine, whose parser counts the control token as reasoning."""

    def build_tok_params(self, model_config: ModelConfig) -> TokenizeParams:
        """vLLM's limits, with room for the control token and one token of text behind it."""
        params = super().build_tok_params(model_config)
        return replace(params, max_output_tokens=max(params.max_output_tokens, 1) + 1)


class RefusalSettings(BaseModel):
    """Echo of what was asked for and what it came to; stands in every response."""

    requested_rates: dict[str, float] | float | None
    requested_thresholds: dict[str, float] | None
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
            effective_rates=(
                None if steering.effective_rates is None else dict(steering.effective_rates)
            ),
            over_refusal=steering.over_refusal,
            thresholds={
                name: probability_of(threshold)
                for name, threshold in zip(categories, steering.thresholds, strict=True)
            },
            scope=scope,
            warnings=list(steering.warnings),
        )


class RefusalDetails(BaseModel):
    """What the gate decided for one choice."""

    refused: bool
    category: str | None
    """The category whose refuse token was chosen; None for an answer."""
    position: int | None
    """Where in the answer, in tokens that the client sees, the refusal begins; None for an
    answer."""


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
