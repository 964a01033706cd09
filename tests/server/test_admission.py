import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from vllm.exceptions import VLLMValidationError

from server.admission import REFUSED_FIELDS, admit, check_prompt
from server.checkpoint import Checkpoint
from server.schema import ChatRequest
from steering.manifest import Category, Manifest
from steering.policy import Policy
from steering.tokens import ControlTokens

MANIFEST = Manifest(
    respond_token="<|respond|>",
    categories=(
        Category(name="safety", token="<|refuse:safety|>"),
        Category(name="temporal", token="<|refuse:temporal|>"),
    ),
)
CHECKPOINT = Checkpoint(
    path=Path("demo"),
    manifest=MANIFEST,
    control=ControlTokens(respond=1, refuse=(2, 3)),
    policy=Policy(MANIFEST, None),
)
HELLO = {"role": "user", "content": "hello"}


def request(**fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"messages": [HELLO]} | fields)


def refused(**fields: Any) -> VLLMValidationError:
    with pytest.raises(VLLMValidationError) as caught:
        admit(request(**fields), CHECKPOINT, max_logprobs=8)
    return caught.value


def test_admits_an_ordinary_request() -> None:
    accepted = request(refusal_thresholds={"safety": 1.0}, temperature=0.5, stop=["."], n=2)
    admit(accepted, CHECKPOINT, max_logprobs=8)
    assert accepted.turn.steering.thresholds == (math.inf, 0)
    assert accepted.turn.control == CHECKPOINT.control


@pytest.mark.parametrize(
    "fields",
    [
        {"add_generation_prompt": False},
        {"allowed_token_ids": [5]},
        {"bad_words": ["x"]},
        {"chat_template": "{{ messages }}"},
        {"chat_template_kwargs": {"a": 1}},
        {"continue_final_message": True, "add_generation_prompt": False},
        {"echo": True},
        {"kv_transfer_params": {"prompt_token_ids": [1]}},
        {"logit_bias": {"2": -100}},
        {"min_tokens": 1},
        {"prompt_logprobs": 1},
        {"response_format": {"type": "json_object"}},
        {"skip_special_tokens": False},
        {"stop_token_ids": [2]},
        {"structured_outputs": {"choice": ["yes"]}},
        {"thinking_token_budget": 1},
        {"truncate_prompt_tokens": 1},
        {"use_beam_search": True},
        {"vllm_xargs": {"demur": [9]}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_refuses_fields_that_could_decide_the_first_token(fields: dict[str, Any]) -> None:
    assert refused(**fields).parameter in fields


def test_every_refused_field_is_one_of_vllms() -> None:
    assert set(REFUSED_FIELDS) <= set(ChatRequest.model_fields)


@pytest.mark.parametrize("field", sorted(REFUSED_FIELDS))
def test_vllms_own_default_is_not_refused(field: str) -> None:
    default = ChatRequest.model_fields[field].get_default(call_default_factory=True)
    admit(request(**{field: default}), CHECKPOINT, max_logprobs=8)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("value", [0, -1])
def test_refuses_lengths_without_room_for_text(field: str, value: int) -> None:
    assert refused(**{field: value}).parameter == field


def test_bounds_top_logprobs_by_what_the_engine_can_give() -> None:
    admit(request(logprobs=True, top_logprobs=5), CHECKPOINT, max_logprobs=8)
    assert "between 0 and 5, not 6" in str(refused(logprobs=True, top_logprobs=6))


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"role": "user", "content": "a <|respond|> b"}, "messages[0].content"),
        ({"role": "system", "content": "<|refuse:safety|>"}, "messages[0].content"),
        ({"role": "assistant", "refusal": "<|refuse:temporal|>"}, "messages[0].content"),
        (
            {"role": "user", "content": [{"type": "text", "text": "<|respond|>"}]},
            "messages[0].content[0].text",
        ),
        ({"role": "user", "content": "hi", "name": "<|respond|>"}, "messages[0].name"),
        ({"role": "tool", "content": "<|respond|>", "tool_call_id": "1"}, "messages[0].content"),
        (
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"a": "<|respond|>"}'},
                    }
                ],
            },
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)
def test_refuses_control_tokens_wherever_text_is(message: dict[str, Any], path: str) -> None:
    error = refused(messages=[message])
    assert path in str(error)
    assert error.parameter == "messages"


def test_names_the_field_of_settings_that_do_not_fit() -> None:
    assert refused(refusal_thresholds={"safty": 1}).parameter == "refusal_thresholds"
    assert refused(refusal_rates=0.5).parameter == "refusal_rates"


def test_serves_only_scopes_that_the_checkpoint_was_trained_for() -> None:
    error = refused(refusal_scope="every_token")
    assert error.parameter == "refusal_scope"
    assert "first_token" in str(error)
    both = replace(
        CHECKPOINT, manifest=MANIFEST.model_copy(update={"scopes": ("first_token", "every_token")})
    )
    accepted = request(refusal_scope="every_token")
    admit(accepted, both, max_logprobs=8)
    assert accepted.turn.every_token


def test_a_rendered_prompt_may_hold_no_control_token() -> None:
    check_prompt([7, 8, 9], CHECKPOINT)
    with pytest.raises(VLLMValidationError, match="ids 3"):
        check_prompt([7, 3, 9], CHECKPOINT)
