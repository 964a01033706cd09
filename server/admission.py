"""What is checked before a request reaches the engine."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vllm.exceptions import VLLMValidationError
from vllm.tokenizers import TokenizerLike

from server.checkpoint import Checkpoint
from server.fields import check_fields
from server.prompt import PromptCheck
from server.refusal_texts import RefusalTexts
from server.schema import ChatRequest
from server.turn import Turn
from server.words import bias_of
from steering.manifest import Scope
from steering.policy import Policy
from steering.settings import SettingsError
from steering.shapes import shape_of

MAX_TEMPERATURE = 2.0
MAX_INTEGER = 2**63 - 1
"""What the engine can be sent."""
REPETITION_PENALTIES = (0.01, 100.0)
"""vLLM (0.32) takes any above 0. In float32 the smallest are 0: what the gate has masked, -inf,
would become NaN, and any token be sampled."""
THINKING_KWARGS = frozenset({"enable_thinking", "thinking"})
"""Variables of chat templates that switch a model's reasoning on and off."""
FIRST_TOKEN_ONLY = (
    "goes with refusal_scope first_token only: a refusal in the middle would not be what the"
    " grammar allows"
)
VARIABLES = THINKING_KWARGS | {"reasoning_effort"}
"""Variables of chat templates that a request may set."""


@dataclass(frozen=True)
class Limits:
    """What the running engine allows."""

    max_logprobs: int
    """Candidates per position, control tokens included; -1 for no limit."""
    penalties_before_gate: bool
    """Whether the engine's sampler is Model Runner V2's, which penalises before the gate."""


class Admission:
    """Checks requests for one checkpoint in one engine."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokenizer: TokenizerLike,
        limits: Limits,
        texts: RefusalTexts,
        chat_template: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """template_kwargs: the operator's variables of the chat template, for every request."""
        self._checkpoint = checkpoint
        self._tokenizer = tokenizer
        self._limits = limits
        self.texts = texts
        self._prompt = PromptCheck(
            tokenizer, checkpoint.control, chat_template, template_kwargs or {}
        )
        markers = {*checkpoint.manifest.tokens, *tokenizer.all_special_tokens}
        # The longest first: of several that begin alike, an error names what is there.
        by_length = sorted(markers, key=lambda marker: (-len(marker), marker))
        self._markers = re.compile("|".join(map(re.escape, by_length)))
        self._normal = _normalization(tokenizer)

    def admit(self, request: ChatRequest, policy: Policy) -> None:
        """Check a request's own fields and resolve its settings into `request.turn`.

        policy: what the operator allows this client.

        Raises VLLMValidationError, which vLLM answers as a 400 that names the field.
        """
        check_fields(vars(request), request.model_extra or {})
        self._check_bounds(request)
        if request.dry_run and request.stream:
            _refuse("dry_run", "writes no answer to stream: leave out stream")
        _check_texts(request, self._markers, self._normal)
        try:
            scope = policy.scope(request.refusal_scope)
            steering = policy.resolve(request.settings, scope)
        except SettingsError as error:
            raise VLLMValidationError(str(error), parameter=error.field) from error
        constrained = _constrained(request)
        if constrained is not None and scope == "every_token":
            _refuse(constrained, FIRST_TOKEN_ONLY)
        if self._limits.penalties_before_gate:
            _check_penalties(request, scope)
        bias = bias_of(request.logit_bias, request.bad_words, self._tokenizer, self._checkpoint)
        templates = self.texts.resolve(request.refusal_text, request.refusal_language)
        request.begin(
            Turn(
                policy.warned(steering, _shape(request)),
                self._checkpoint.control,
                scope,
                bias,
                templates,
                count=request.n or 1,
            )
        )

    def check_prompt(self, token_ids: Sequence[int], kwargs: Mapping[str, Any]) -> None:
        """Check a prompt that was rendered with `kwargs`; raises VLLMValidationError."""
        own = {name: value for name, value in kwargs.items() if name in VARIABLES}
        self._prompt.check(token_ids, own)

    def check_tools(self, request: ChatRequest) -> None:
        """Check the grammar that vLLM's parsers may bring when they render a request with tools.

        Raises VLLMValidationError.
        """
        if request.turn.every_token and request.extract_structured_outputs() is not None:
            _refuse("tools", f"(strict ones, or one call at most) {FIRST_TOKEN_ONLY}")

    def _check_bounds(self, request: ChatRequest) -> None:
        for field in ("max_completion_tokens", "max_tokens"):
            # As an attribute the older one warns: pydantic has it deprecated.
            value = vars(request)[field]
            if value is not None and value < 1:
                _refuse(field, f"must be at least 1, not {value}")
        for field in ("top_k", "stream_interval"):
            value = vars(request)[field]
            if value is not None and value > MAX_INTEGER:
                _refuse(field, f"must be at most {MAX_INTEGER}, not {value}")
        if not 0 <= (request.temperature or 0) <= MAX_TEMPERATURE:
            _refuse("temperature", f"must be between 0 and 2, not {request.temperature}")
        penalty = request.repetition_penalty
        lowest, highest = REPETITION_PENALTIES
        if penalty is not None and not lowest <= penalty <= highest:
            _refuse(
                "repetition_penalty", f"must be between {lowest:g} and {highest:g}, not {penalty}"
            )
        self._check_logprobs(request.top_logprobs or 0)
        for name, value in (request.chat_template_kwargs or {}).items():
            if name not in THINKING_KWARGS:
                _refuse(
                    "chat_template_kwargs",
                    f"may hold {' and '.join(sorted(THINKING_KWARGS))}, not {name!r}",
                )
            if not isinstance(value, bool):
                _refuse(f"chat_template_kwargs.{name}", "must be true or false")

    def _check_logprobs(self, asked: int) -> None:
        if self._limits.max_logprobs == -1:
            return
        allowed = self._limits.max_logprobs - len(self._checkpoint.control.ids)
        if not 0 <= asked <= allowed:
            _refuse("top_logprobs", f"must be between 0 and {allowed}, not {asked}")


def _shape(request: ChatRequest) -> int:
    # vLLM (0.32) takes a dictionary with an author for a message of OpenAI's harmony library.
    roles = (
        message["role"] if isinstance(message, dict) else message.author.role
        for message in request.messages
    )
    return shape_of(roles, len(request.tools or ()))


def _constrained(request: ChatRequest) -> str | None:
    """The field that constrains the answer by a grammar, if one does."""
    if request.structured_outputs is not None:
        return "structured_outputs"
    if request.response_format is not None and request.response_format.type != "text":
        return "response_format"
    if request.tool_choice not in (None, "none", "auto"):
        return "tool_choice"
    return None


def _check_penalties(request: ChatRequest, scope: Scope) -> None:
    """Model Runner V2 penalises before the gate: a prompt's tokens, or an answer's."""
    if request.repetition_penalty not in (None, 1):
        _refuse("repetition_penalty", "must be 1 on this engine")
    for field in ("frequency_penalty", "presence_penalty"):
        if scope == "every_token" and (getattr(request, field) or 0) < 0:
            _refuse(field, "must not be negative where every token is gated")


def _check_texts(
    request: ChatRequest, markers: re.Pattern[str], normal: Callable[[str], str]
) -> None:
    """No text of the client's may spell a control token or another special token.

    The tokenizer would take it for the token itself: a turn marker would open another turn. Some
    tokenizers do so with what is only equivalent in Unicode, so the normal form is looked at too.
    """
    sources = (("messages", request.messages), ("tools", request.tools))
    for field, value in (*sources, ("documents", request.documents)):
        for path, text in _texts(value, field):
            spelled = markers.search(text) or markers.search(normal(text))
            if spelled is not None:
                what = f"contains {spelled[0]}, a token of this model that text may not spell"
                _refuse(field, what, path)


def _normalization(tokenizer: TokenizerLike) -> Callable[[str], str]:
    """What the tokenizer does to text before it looks for tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    normalizer = getattr(backend, "normalizer", None)
    return str if normalizer is None else normalizer.normalize_str


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every string inside `value`, with its path; names of fields included."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{path} (a key)", str(key)
            yield from _texts(item, f"{path}.{key}")
    elif hasattr(value, "model_dump"):
        yield from _texts(value.model_dump(), path)
    elif isinstance(value, Iterable):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")


def _refuse(field: str, what: str, path: str | None = None) -> None:
    raise VLLMValidationError(f"{path or field} {what}", parameter=field)
