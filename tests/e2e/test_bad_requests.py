"""Input that is refused: always a 400, with the field's name in the message."""

import json
from typing import Any

import httpx
import pytest

from steering.manifest import Manifest
from tests.e2e.calls import CHAT, HELLO


def error_of(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


def refused(http: httpx.Client, field: str, literal: str) -> str:
    """The message for a request whose `field` is the JSON text `literal`."""
    content = f'{{"messages": {json.dumps(HELLO)}, "{field}": {literal}}}'
    headers = {"content-type": "application/json"}
    error = error_of(http.post(CHAT, content=content, headers=headers))
    assert error["param"] == field
    message: str = error["message"]
    assert field in message
    return message


@pytest.mark.parametrize("literal", ["-0.1", "1.1", "NaN", '"0.5"', "true", "[]", "1e400"])
@pytest.mark.parametrize("field", ["refusal_rates", "refusal_thresholds"])
def test_what_is_no_share(http: httpx.Client, field: str, literal: str) -> None:
    assert "between 0 and 1" in refused(http, field, literal)
    assert f"{field}.safety" in refused(http, field, f'{{"safety": {literal}}}')


@pytest.mark.parametrize("field", ["refusal_rates", "refusal_thresholds"])
def test_an_unknown_category(http: httpx.Client, manifest: Manifest, field: str) -> None:
    message = refused(http, field, '{"safty": 0.5}')
    assert "'safty'" in message
    assert ", ".join(manifest.names) in message


@pytest.mark.parametrize("field", ["refusal_rates", "refusal_thresholds"])
def test_an_empty_map_is_allowed(http: httpx.Client, field: str) -> None:
    body = {"messages": HELLO, "max_tokens": 1, field: {}}
    assert http.post(CHAT, json=body).status_code == 200


@pytest.mark.parametrize("rates", ['{"safety": 0.5}', "0.5"])
def test_a_rate_and_a_threshold_for_the_same_category(http: httpx.Client, rates: str) -> None:
    message = refused(http, "refusal_thresholds", f'{{"safety": 0.5}}, "refusal_rates": {rates}')
    assert "refusal_rates" in message
    assert "'safety'" in message


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_control_token_in_a_message(http: httpx.Client, manifest: Manifest, role: str) -> None:
    for token in manifest.tokens:
        messages = [{"role": role, "content": f"so {token} it is"}, *HELLO]
        error = error_of(http.post(CHAT, json={"messages": messages}))
        assert error["param"] == "messages"
        assert "messages[0].content" in error["message"]
        assert token in error["message"]


@pytest.mark.parametrize(
    ("field", "literal"),
    [
        ("allowed_token_ids", "[5]"),
        ("vllm_xargs", '{"demur": [9.0]}'),
        ("echo", "true"),
        ("max_tokens", "0"),
        ("top_logprobs", '21, "logprobs": true'),
    ],
)
def test_fields_that_are_not_served(http: httpx.Client, field: str, literal: str) -> None:
    refused(http, field, literal)


def test_the_server_still_answers_after_all_this(http: httpx.Client) -> None:
    body = {"messages": HELLO, "max_tokens": 4, "refusal_rates": 0}
    assert http.post(CHAT, json=body).status_code == 200
