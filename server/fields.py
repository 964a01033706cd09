"""Every field of a chat-completions request, and why it cannot reach past the gate.

The gate decides by the logits of the answer's first position. A field is passed on where it cannot
touch them, bounded or computed where it can be made harmless, and refused otherwise. The table in
docs/security.md is this one, and a test holds it against vLLM's own request model.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from vllm.exceptions import VLLMValidationError


class Refused(NamedTuple):
    """A field that is served with one value only, and why."""

    harmless: Any
    why: str


PASSED: Mapping[str, str] = {
    "messages": "checked for control tokens as text and, once rendered, as token ids",
    "model": "names a served model",
    "frequency_penalty": "counts output tokens: there are none at the first position",
    "presence_penalty": "counts output tokens: there are none at the first position",
    "logprobs": "control tokens are taken out",
    "n": "every choice is decided alike",
    "seed": "one token is left to sample at the first position",
    "stop": "matched against text, of which control tokens have none",
    "stream": "the same decision, told by delta.refusal",
    "stream_options": "usage does not count the control token",
    "top_p": "applied behind the gate",
    "min_p": "applied behind the gate",
    "response_format": "the decision comes before the grammar",
    "structured_outputs": "the decision comes before the grammar",
    "tools": "rendered into the prompt, which is checked; a refusal calls none",
    "tool_choice": "the decision comes before its grammar",
    "parallel_tool_calls": "filters the parsed answer",
    "reasoning_effort": "a variable of the chat template; the prompt's end is checked",
    "include_reasoning": "leaves reasoning out of the response",
    "user": "ignored by vLLM",
    "include_stop_str_in_output": "adds text to the answer's end",
    "ignore_eos": "lengthens the answer",
    "spaces_between_special_tokens": "spacing of the text",
    "documents": "rendered into the prompt, which is checked",
    "media_io_kwargs": "how media are read; vLLM asks for --trust-request-mm-kwargs",
    "mm_processor_kwargs": "how media are read; vLLM asks for --trust-request-mm-kwargs",
    "priority": "order of scheduling",
    "request_id": "a name",
    "session_id": "a name",
    "return_tokens_as_token_ids": "control tokens are taken out",
    "return_token_ids": "control tokens are taken out",
    "return_token_offsets": "ignored by this route",
    "return_prompt_text": "the client's own prompt",
    "routed_experts_prompt_start": "which of the prompt's routing data to return",
    "mm_payload": "ignored by this route",
    "return_mm_kwargs": "ignored by this route",
    "cache_salt": "separates the prefix cache",
    "repetition_detection": "ends the answer early",
    "truncate_prompt_tokens": "the prompt's end is checked after it is cut",
    "truncation_side": "the prompt's end is checked after it is cut",
    "refusal_rates": "ours",
    "refusal_thresholds": "ours",
    "over_refusal_budget": "ours",
    "refusal_scores": "ours; read from the engine before the gate, whatever is decided",
    "dry_run": "ours; the same checks and decision, without an answer",
    "refusal_scope": "ours; only what the checkpoint was trained for",
    "refusal_text": "ours; the same decision, told in other words",
    "refusal_language": "ours; one of those that the server has templates in",
}

BOUNDED: Mapping[str, str] = {
    "temperature": "0 to 2, as OpenAI's: higher ones would weaken a banned word",
    "max_tokens": "at least 1; the control token is not counted",
    "max_completion_tokens": "at least 1; the control token is not counted",
    "top_logprobs": "up to --max-logprobs; control tokens are taken out",
    "logit_bias": "not on control tokens; without effect on the decision",
    "bad_words": "not on control tokens; without effect on the decision",
    "top_k": "at most 2^63 - 1, what the engine can be sent; applied behind the gate",
    "stream_interval": "at most 2^63 - 1, what the engine can be sent; size of the streamed pieces",
    "repetition_penalty": "between 0.01 and 100: as 0, which the smallest are in float32, it would"
    " make NaN of what the gate has masked; 1 on Model Runner V2, which applies it to the prompt"
    " before the gate",
    "chat_template_kwargs": "enable_thinking and thinking only",
}

REFUSED: Mapping[str, Refused] = {
    "add_generation_prompt": Refused(True, "moves the answer's first position"),
    "continue_final_message": Refused(False, "moves the answer's first position"),
    "add_special_tokens": Refused(False, "may add tokens behind the generation prompt"),
    "allowed_token_ids": Refused(None, "masks the refuse tokens"),
    "chat_template": Refused(None, "can write the answer's beginning"),
    "echo": Refused(False, "returns the prompt's logprobs"),
    "ec_transfer_params": Refused(None, "moves caches between engines"),
    "kv_transfer_params": Refused(None, "replaces the prompt"),
    "length_penalty": Refused(1.0, "belongs to beam search"),
    "logprob_token_ids": Refused(None, "asks for control tokens' logprobs"),
    "min_tokens": Refused(0, "masks tokens at the answer's first position"),
    "prompt_logprobs": Refused(None, "names control tokens among the prompt's candidates"),
    "skip_special_tokens": Refused(True, "shows control tokens as text"),
    "stop_token_ids": Refused([], "ends the answer at its control token"),
    "thinking_token_budget": Refused(None, "forces tokens behind the gate"),
    "use_beam_search": Refused(False, "searches past the forced token"),
    "vllm_xargs": Refused(None, "reaches the gate's own settings"),
    "watermarking": Refused(None, "changes the sampler"),
}

IGNORED = frozenset(
    {
        "metadata",
        "modalities",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "verbosity",
    }
)
"""Fields of OpenAI's that vLLM does not know and has no use for."""


def check_fields(fields: Mapping[str, Any], unknown: Mapping[str, Any]) -> None:
    """Check a request's fields against the tables above.

    fields: vLLM's own by name; unknown: what the client sent besides.
    Raises VLLMValidationError, naming the field, for one that is refused or not known.
    """
    for name in unknown:
        if name not in IGNORED:
            raise VLLMValidationError(f"{name} is not a field of this server", parameter=name)
    for name, refused in REFUSED.items():
        value = fields.get(name)
        if value is not None and value not in (refused.harmless, [], {}):
            raise VLLMValidationError(
                f"{name} is not served, since it {refused.why}: leave it out", parameter=name
            )
