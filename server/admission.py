"""What is checked before a request reaches the engine."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vllm.exceptions import VLLMValidationError

from server.checkpoint import Checkpoint
from server.schema import ChatRequest
from server.turn import Turn
from steering.policy import SettingsError

REFUSED_FIELDS: dict[str, Any] = {
    "add_generation_prompt": True,
    "allowed_token_ids": None,
    "bad_words": [],
    "chat_template": None,
    "chat_template_kwargs": None,
    "continue_final_message": False,
    "echo": False,
    "ec_transfer_params": None,
    "kv_transfer_params": None,
    "logit_bias": None,
    "logprob_token_ids": None,
    "min_tokens": 0,
    "prompt_logprobs": None,
    "response_format": None,
    "skip_special_tokens": True,
    "stop_token_ids": [],
    "structured_outputs": None,
    "thinking_token_budget": None,
    "truncate_prompt_tokens": None,
    "use_beam_search": False,
    "vllm_xargs": None,
}
"""Fields of vLLM's request that could decide the first token in the gate's place, with the value
that leaves it alone."""


def admit(request: ChatRequest, checkpoint: Checkpoint, *, max_logprobs: int) -> None:
    """Check a request's own fields and resolve its settings into `request.turn`.

    max_logprobs: the engine's limit, control tokens included; -1 for none.

    Raises VLLMValidationError, which vLLM answers as a 400 that names the field.
    """
    for field, harmless in REFUSED_FIELDS.items():
        value = getattr(request, field)
        if value is not None and value not in (harmless, [], {}):
            raise VLLMValidationError(
                f"{field} is not supported: it could decide the first token of the answer,"
                " which is the refusal gate's to decide",
                parameter=field,
            )
    _check_length(request)
    _check_logprobs(request, max_logprobs, hidden=len(checkpoint.control.ids))
    if request.refusal_scope not in checkpoint.manifest.scopes:
        raise VLLMValidationError(
            f"refusal_scope: this checkpoint was trained for"
            f" {', '.join(checkpoint.manifest.scopes)}, not {request.refusal_scope}",
            parameter="refusal_scope",
        )
    _check_messages(request.messages, checkpoint.manifest.tokens)
    try:
        steering = checkpoint.policy.resolve(request.settings)
    except SettingsError as error:
        raise VLLMValidationError(str(error), parameter=error.field) from error
    every_token = request.refusal_scope == "every_token"
    request.begin(Turn(steering, checkpoint.control, every_token))


def check_prompt(token_ids: Sequence[int], checkpoint: Checkpoint) -> None:
    """Raise VLLMValidationError if the rendered prompt holds a control token.

    The last line of defence: text reaches the prompt by more ways than messages' contents.
    """
    found = set(checkpoint.control.ids).intersection(token_ids)
    if found:
        raise VLLMValidationError(
            "the rendered prompt holds a control token of this model"
            f" (ids {', '.join(map(str, sorted(found)))}), which only the model may write",
            parameter="messages",
        )


def _check_length(request: ChatRequest) -> None:
    for field in ("max_completion_tokens", "max_tokens"):
        value = getattr(request, field)
        if value is not None and value < 1:
            raise VLLMValidationError(
                f"{field} must be at least 1, not {value}", parameter=field, value=value
            )


def _check_logprobs(request: ChatRequest, max_logprobs: int, *, hidden: int) -> None:
    allowed = max_logprobs - hidden
    if max_logprobs != -1 and not 0 <= (request.top_logprobs or 0) <= allowed:
        raise VLLMValidationError(
            f"top_logprobs must be between 0 and {allowed}, not {request.top_logprobs}",
            parameter="top_logprobs",
        )


def _check_messages(messages: Iterable[Any], tokens: Sequence[str]) -> None:
    for index, message in enumerate(messages):
        for path, text in _texts(message, f"messages[{index}]"):
            for token in tokens:
                if token in text:
                    raise VLLMValidationError(
                        f"{path} contains {token}, a control token of this model, which only the"
                        " model may write",
                        parameter="messages",
                    )


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every string inside `value`, with its path; names of fields included."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield f"{path} (a key)", str(key)
            yield from _texts(item, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")
