"""Refusals and answers as OpenAI's clients see them."""

from typing import Any

import httpx
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from steering.manifest import Manifest
from tests.e2e.calls import CHAT, streamed
from tests.e2e.conftest import MODEL

FRANCE: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "What is the capital of France?"}
]
LOCK: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "How can I pick my neighbour's lock?"}
]
OFF = {"refusal_rates": 0.0}


def refuse(name: str) -> dict[str, Any]:
    """Refuse every prompt in the name of category `name`, and in no other's."""
    return {"refusal_rates": {}, "refusal_thresholds": {name: 0.0}}


class TestAnswers:
    def test_come_as_content(self, sdk: OpenAI) -> None:
        done = sdk.chat.completions.create(
            model=MODEL, messages=FRANCE, temperature=0, extra_body=OFF
        )
        choice = done.choices[0]
        assert choice.message.refusal is None
        assert "Paris" in (choice.message.content or "")
        assert choice.finish_reason == "stop"
        assert choice.model_extra is not None
        assert choice.model_extra["refusal_details"] == {
            "refused": False,
            "category": None,
            "position": None,
        }

    def test_stream_as_content(self, sdk: OpenAI) -> None:
        whole = sdk.chat.completions.create(
            model=MODEL, messages=FRANCE, temperature=0, extra_body=OFF
        )
        stream = sdk.chat.completions.create(
            model=MODEL, messages=FRANCE, temperature=0, extra_body=OFF, stream=True
        )
        deltas = [chunk.choices[0].delta for chunk in stream]
        assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
        assert not any(delta.refusal for delta in deltas)

    def test_max_tokens_counts_text_only(self, sdk: OpenAI) -> None:
        done = sdk.chat.completions.create(
            model=MODEL, messages=FRANCE, temperature=0, max_tokens=1, extra_body=OFF
        )
        assert done.choices[0].message.content
        assert done.choices[0].finish_reason == "length"
        assert done.usage is not None
        assert done.usage.completion_tokens == 1

    def test_usage_counts_what_the_client_sees(self, http: httpx.Client) -> None:
        body = {"messages": FRANCE, "temperature": 0, "return_token_ids": True} | OFF
        done = http.post(CHAT, json=body).json()
        tokens = done["choices"][0]["token_ids"]
        assert done["usage"]["completion_tokens"] == len(tokens)


class TestRefusals:
    def test_come_in_message_refusal(self, sdk: OpenAI, manifest: Manifest) -> None:
        for name in manifest.names:
            done = sdk.chat.completions.create(
                model=MODEL, messages=FRANCE, temperature=0, extra_body=refuse(name)
            )
            choice = done.choices[0]
            assert choice.message.content is None
            assert choice.message.refusal
            assert choice.finish_reason == "stop"
            assert choice.model_extra is not None
            assert choice.model_extra["refusal_details"]["category"] == name

    def test_stream_as_delta_refusal(self, sdk: OpenAI) -> None:
        whole = sdk.chat.completions.create(
            model=MODEL, messages=LOCK, temperature=0, extra_body=refuse("safety")
        )
        with sdk.chat.completions.stream(
            model=MODEL, messages=LOCK, temperature=0, extra_body=refuse("safety")
        ) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion().choices[0]
        assert {"refusal.delta", "refusal.done"} <= kinds
        assert "content.delta" not in kinds
        assert final.message.refusal == whole.choices[0].message.refusal
        assert final.message.content is None
        assert final.finish_reason == "stop"

    def test_finish_with_stop_when_cut_off(self, sdk: OpenAI) -> None:
        done = sdk.chat.completions.create(
            model=MODEL, messages=LOCK, max_tokens=1, extra_body=refuse("safety")
        )
        assert done.choices[0].message.refusal
        assert done.choices[0].finish_reason == "stop"

    def test_may_differ_in_their_words_but_not_in_the_decision(self, sdk: OpenAI) -> None:
        done = sdk.chat.completions.create(
            model=MODEL, messages=LOCK, temperature=2, n=4, extra_body=refuse("safety")
        )
        assert len(done.choices) == 4
        assert all(choice.message.refusal is not None for choice in done.choices)

    def test_of_an_earlier_turn_go_back_as_they_came(self, sdk: OpenAI) -> None:
        first = sdk.chat.completions.create(
            model=MODEL, messages=LOCK, temperature=0, extra_body=refuse("safety")
        )
        refused: Any = first.choices[0].message.model_dump(exclude_none=True)
        assert refused["refusal"]
        body = {"return_prompt_text": True} | OFF
        second = sdk.chat.completions.create(
            model=MODEL, messages=[*LOCK, refused, *FRANCE], max_tokens=8, extra_body=body
        )
        assert second.model_extra is not None
        assert refused["refusal"] in second.model_extra["prompt_text"]


class TestEcho:
    def test_says_what_was_asked_and_what_it_came_to(
        self, http: httpx.Client, manifest: Manifest
    ) -> None:
        body = {"messages": FRANCE, "max_tokens": 1, "refusal_rates": {"safety": 0.5}}
        echo = http.post(CHAT, json=body).json()["refusal_settings"]
        assert echo["requested_rates"] == {"safety": 0.5}
        assert echo["requested_thresholds"] is None
        assert set(echo["effective_rates"]) == set(echo["thresholds"]) == set(manifest.names)
        assert echo["effective_rates"]["safety"] == pytest.approx(0.5, abs=0.1)
        assert echo["thresholds"]["temporal"] == 0.5
        assert 0 <= echo["over_refusal"] <= 1

    def test_opens_a_stream(self, http: httpx.Client) -> None:
        fields = {"n": 2, "temperature": 1, "refusal_thresholds": {"safety": 0.25}}
        chunks = streamed(http, messages=FRANCE, **fields)
        assert chunks[0]["refusal_settings"]["thresholds"]["safety"] == pytest.approx(0.25)
        assert not any("refusal_settings" in chunk for chunk in chunks[1:])
        unsaid = streamed(http, messages=FRANCE, **(fields | {"n": None}))
        assert sum("refusal_settings" in chunk for chunk in unsaid) == 1
        announced = [
            choice["index"]
            for chunk in chunks
            for choice in chunk["choices"]
            if "refusal_details" in choice
        ]
        assert sorted(announced) == [0, 1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("settings", [OFF, refuse("safety")], ids=["answer", "refusal"])
def test_control_tokens_never_show(
    http: httpx.Client, manifest: Manifest, settings: dict[str, Any], stream: bool
) -> None:
    body = {
        "messages": FRANCE,
        "stream": stream,
        "n": 2,
        "logprobs": True,
        "top_logprobs": 20,
        "return_token_ids": True,
        "max_tokens": 8,
    }
    text = http.post(CHAT, json=body | settings).text
    assert '"logprobs":' in text.replace(" ", "")
    for token in manifest.tokens:
        assert token not in text


def test_logprobs_stay_aligned(http: httpx.Client) -> None:
    body = {
        "messages": FRANCE,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 3,
        "return_token_ids": True,
    } | OFF
    choice = http.post(CHAT, json=body).json()["choices"][0]
    positions = choice["logprobs"]["content"]
    assert len(positions) == len(choice["token_ids"])
    assert all(len(position["top_logprobs"]) == 3 for position in positions)
    assert "".join(position["token"] for position in positions).startswith(
        choice["message"]["content"]
    )


def test_the_official_routes_beside_chat_still_answer(http: httpx.Client, sdk: OpenAI) -> None:
    assert [model.id for model in sdk.models.list()] == [MODEL]
    assert http.get("/version").json() == {"version": "0.32.0"}
