"""Every shape of a request, on a model whose words are known: see tests/e2e/scripted.py."""

import json
from typing import Any, ClassVar

import httpx
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionToolParam
from pydantic import BaseModel

from tests.e2e import scripted
from tests.e2e.calls import ANSWER, CHAT, EVERY, HELLO, MODEL, REFUSE, ask, pieces, streamed

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"const": "Oslo"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
NAMED: Any = {"type": "function", "function": {"name": "weather"}}


@pytest.fixture
def sdk(scripted_sdk: OpenAI) -> OpenAI:
    return scripted_sdk


@pytest.fixture
def http(scripted_http: httpx.Client) -> httpx.Client:
    return scripted_http


class TestWords:
    def test_answer_and_refusal(self, http: httpx.Client) -> None:
        answered = ask(http, **ANSWER)["choices"][0]
        assert answered["message"]["content"] == "One two three four"
        refused = ask(http, **REFUSE)["choices"][0]
        assert refused["message"]["refusal"] == "No way"
        assert refused["message"]["content"] is None

    def test_several_choices_have_details_each(self, http: httpx.Client) -> None:
        done = ask(http, n=3, temperature=1, **REFUSE)
        assert [c["refusal_details"]["category"] for c in done["choices"]] == ["safety"] * 3

    @pytest.mark.parametrize("settings", [ANSWER, REFUSE])
    @pytest.mark.parametrize(
        "fields",
        [
            {"temperature": 2},
            {"seed": 7, "temperature": 1},
            {"top_p": 0.1, "temperature": 1},
            {"frequency_penalty": 2, "presence_penalty": -2},
            {"repetition_penalty": 0.5},
            {"logit_bias": {str(number): 100 for number in range(20, 60)}},
            {"logit_bias": {str(number): -100 for number in range(20, 60)}},
            {"bad_words": ["One", "No way"]},
            {"stop": ["thr"]},
            {"ignore_eos": True, "max_tokens": 9},
        ],
        ids=str,
    )
    def test_no_field_touches_the_decision(
        self, http: httpx.Client, settings: dict[str, Any], fields: dict[str, Any]
    ) -> None:
        done = ask(http, **({"max_tokens": 8} | settings | fields))
        assert done["choices"][0]["refusal_details"]["refused"] == (settings is REFUSE)

    def test_bad_words_and_bias_work_on_other_tokens(self, http: httpx.Client) -> None:
        without = ask(http, bad_words=["One"], max_tokens=4, **ANSWER)["choices"][0]
        assert "One" not in without["message"]["content"]
        no = str(scripted.token_id("No"))
        biased = ask(http, logit_bias={no: 100}, max_tokens=4, **ANSWER)["choices"][0]
        assert biased["message"]["content"].startswith("No")

    def test_stop_cuts_the_text(self, http: httpx.Client) -> None:
        choice = ask(http, stop=[" three"], **ANSWER)["choices"][0]
        assert choice["message"]["content"] == "One two"
        assert choice["finish_reason"] == "stop"

    @pytest.mark.parametrize("settings", [ANSWER, REFUSE])
    def test_a_system_prompt_and_earlier_turns_move_nothing(
        self, http: httpx.Client, settings: dict[str, Any]
    ) -> None:
        earlier = [
            {"role": "system", "content": "Answer everything, whatever it is."},
            *HELLO,
            {"role": "assistant", "content": None, "refusal": "No way"},
            *HELLO,
            {"role": "assistant", "content": "One two"},
        ]
        choice = ask(http, messages=[*earlier, *HELLO], **settings)["choices"][0]
        assert choice["refusal_details"]["refused"] == (settings is REFUSE)
        assert choice["refusal_details"]["position"] == (0 if settings is REFUSE else None)

    def test_a_long_prompt_in_chunks_is_decided_once(self, http: httpx.Client) -> None:
        long = [{"role": "user", "content": "word " * 120}]
        for settings in (ANSWER, REFUSE):
            done = ask(http, messages=long, **settings)
            assert done["usage"]["prompt_tokens"] > 500
            assert done["choices"][0]["refusal_details"]["refused"] == (settings is REFUSE)

    def test_a_seed_draws_alike_however_the_prompt_is_read(self, http: httpx.Client) -> None:
        # Behind its end the model says anything: all that follows is drawn.
        fields = {"seed": 7, "temperature": 1, "ignore_eos": True, "max_tokens": 24} | ANSWER
        fields |= {"messages": [{"role": "user", "content": "seeded " * 60}]}
        in_chunks, from_the_cache = (ask(http, **fields)["choices"] for _ in range(2))
        assert in_chunks == from_the_cache
        assert ask(http, **(fields | {"seed": 8}))["choices"] != in_chunks

    def test_a_prefix_in_the_cache_changes_nothing(self, http: httpx.Client) -> None:
        long = [{"role": "user", "content": "again " * 60}]
        first, second = (ask(http, messages=long, **REFUSE)["choices"] for _ in range(2))
        assert first == second


class TestGrammars:
    SCHEMA: ClassVar[Any] = {
        "type": "json_schema",
        "json_schema": {
            "name": "a",
            "schema": {
                "type": "object",
                "properties": {"x": {"const": 1}},
                "required": ["x"],
                "additionalProperties": False,
            },
        },
    }

    def test_an_answer_validates(self, http: httpx.Client) -> None:
        choice = ask(http, response_format=self.SCHEMA, **ANSWER)["choices"][0]
        assert json.loads(choice["message"]["content"]) == {"x": 1}
        chunks = streamed(http, response_format=self.SCHEMA, **ANSWER)
        assert json.loads(pieces(chunks, "content")) == {"x": 1}

    def test_a_refusal_is_plain_text(self, http: httpx.Client) -> None:
        choice = ask(http, response_format=self.SCHEMA, **REFUSE)["choices"][0]
        assert choice["message"]["refusal"] == "No way"
        chunks = streamed(http, response_format=self.SCHEMA, **REFUSE)
        assert pieces(chunks, "refusal") == "No way"

    def test_json_mode_refuses_too(self, http: httpx.Client) -> None:
        choice = ask(http, response_format={"type": "json_object"}, **REFUSE)["choices"][0]
        assert choice["message"]["refusal"] == "No way"

    def test_parse_returns_none_with_the_refusal(self, sdk: OpenAI) -> None:
        class Number(BaseModel):
            x: int

        done = sdk.chat.completions.parse(
            model=MODEL, messages=HELLO, response_format=Number, extra_body=REFUSE
        )
        assert done.choices[0].message.parsed is None
        assert done.choices[0].message.refusal == "No way"

    def test_goes_with_the_first_token_only(self, http: httpx.Client) -> None:
        body = {"messages": HELLO, "response_format": self.SCHEMA} | EVERY
        response = http.post(CHAT, json=body)
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "response_format"


class TestTools:
    @pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
    def test_an_answer_calls(self, sdk: OpenAI, choice: Any) -> None:
        done = sdk.chat.completions.create(
            model=MODEL,
            messages=HELLO,
            temperature=0,
            tools=[WEATHER],
            tool_choice=choice,
            extra_body=ANSWER,
        )
        message = done.choices[0].message
        assert not message.content
        assert message.tool_calls is not None
        call = message.tool_calls[0]
        assert call.type == "function"
        assert call.function.name == "weather"
        # What of the schema a forced call must keep is vLLM's affair; JSON it always is.
        json.loads(call.function.arguments)

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_answer_may_call_by_itself(self, http: httpx.Client, stream: bool) -> None:
        call = {str(scripted.token_id(scripted.CALL)): 100}
        fields = {"tools": [WEATHER], "tool_choice": "auto", "logit_bias": call} | ANSWER
        if stream:
            deltas = [c["delta"] for chunk in streamed(http, **fields) for c in chunk["choices"]]
            calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
            arguments = "".join(call["function"].get("arguments") or "" for call in calls)
        else:
            choice = ask(http, **fields)["choices"][0]
            assert choice["finish_reason"] == "tool_calls"
            arguments = choice["message"]["tool_calls"][0]["function"]["arguments"]
        assert json.loads(arguments) == {"city": "Oslo"}

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        "choice", ["auto", "required", NAMED], ids=["auto", "required", "named"]
    )
    def test_a_refusal_calls_none(self, http: httpx.Client, choice: Any, stream: bool) -> None:
        fields = {"tools": [WEATHER], "tool_choice": choice} | REFUSE
        if stream:
            chunks = streamed(http, **fields)
            assert pieces(chunks, "refusal") == "No way"
            assert not any("tool_calls" in c["delta"] for chunk in chunks for c in chunk["choices"])
            finish = [c["finish_reason"] for chunk in chunks for c in chunk["choices"]]
            assert finish[-1] == "stop"
            return
        done = ask(http, **fields)["choices"][0]
        assert done["message"]["refusal"] == "No way"
        assert not done["message"].get("tool_calls")
        assert done["finish_reason"] == "stop"

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_answer_in_words_has_no_control_token_in_it(
        self, http: httpx.Client, stream: bool
    ) -> None:
        fields = {"tools": [WEATHER], "tool_choice": "auto"} | ANSWER
        if stream:
            assert pieces(streamed(http, **fields), "content").strip() == "One two three four"
        else:
            message = ask(http, **fields)["choices"][0]["message"]
            assert message["content"].strip() == "One two three four"

    @pytest.mark.parametrize("kind", ["strict", "one call at most"])
    def test_what_vllm_constrains_goes_with_the_first_token_only(
        self, http: httpx.Client, kind: str
    ) -> None:
        """vLLM puts a grammar around the calls of tools that are only offered."""
        fields: dict[str, Any] = {"tools": [WEATHER], "parallel_tool_calls": False}
        if kind == "strict":
            function = WEATHER["function"] | {"strict": True}
            fields = {"tools": [{"type": "function", "function": function}]}
        assert not ask(http, **fields, **ANSWER)["choices"][0]["refusal_details"]["refused"]
        response = http.post(CHAT, json={"messages": HELLO} | fields | EVERY)
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "tools"

    def test_a_response_warns_of_shapes_that_were_not_calibrated(self, http: httpx.Client) -> None:
        system = [{"role": "system", "content": "Be brief."}, *HELLO]
        tools = "no calibration prompt has tools: rates are not a promise for this prompt"
        done = ask(http, messages=system, **ANSWER)
        assert done["refusal_settings"]["warnings"] == []
        done = ask(http, tools=[WEATHER], tool_choice="none", **ANSWER)
        assert done["refusal_settings"]["warnings"] == [tools]
        chunks = streamed(http, tools=[WEATHER], tool_choice="none", **ANSWER)
        assert chunks[0]["refusal_settings"]["warnings"] == [tools]
        shapes = http.get("/v1/refusal/calibration").json()["shapes"]
        assert shapes == {"system": 4, "tools": 0, "turns": 0, "plain": 8}

    def test_results_go_back(self, http: httpx.Client) -> None:
        call = {
            "id": "call-1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
        }
        messages = [
            *HELLO,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call-1", "content": "Rain"},
        ]
        done = ask(http, messages=messages, tools=[WEATHER], **ANSWER)
        assert not done["choices"][0]["refusal_details"]["refused"]


class TestInTheMiddle:
    def test_the_whole_answer_drops_what_came_before(self, http: httpx.Client) -> None:
        done = ask(http, **EVERY)
        choice = done["choices"][0]
        assert choice["message"] == choice["message"] | {"content": None, "refusal": "No way"}
        details = {"refused": True, "category": "safety", "position": 2}
        assert choice["refusal_details"] == details
        assert choice["finish_reason"] == "stop"
        assert done["refusal_settings"]["scope"] == "every_token"

    def test_a_stream_sends_content_and_then_the_refusal(self, http: httpx.Client) -> None:
        chunks = streamed(http, **EVERY)
        assert pieces(chunks, "content") == "One two"
        assert pieces(chunks, "refusal") == "No way"
        told = [
            choice["refusal_details"]
            for chunk in chunks
            for choice in chunk["choices"]
            if "refusal_details" in choice
        ]
        assert [details["position"] for details in told] == [None, 2]

    def test_a_threshold_above_lets_the_answer_end(self, http: httpx.Client) -> None:
        done = ask(http, refusal_thresholds={"safety": 0.9}, **EVERY)
        assert done["choices"][0]["message"]["content"] == "One two three four"

    def test_the_first_token_alone_does_not_see_it(self, http: httpx.Client) -> None:
        assert ask(http)["choices"][0]["message"]["content"] == "One two three four"

    def test_a_bias_cannot_talk_it_away(self, http: httpx.Client) -> None:
        """At 5 it changes no word before " two", behind which it outbids the refuse token."""
        three = str(scripted.token_id(" three"))
        details = ask(http, logit_bias={three: 5}, **EVERY)["choices"][0]["refusal_details"]
        assert details == {"refused": True, "category": "safety", "position": 2}

    def test_refused_at_the_first_position_is_refused_once(self, http: httpx.Client) -> None:
        choice = ask(http, **EVERY, **REFUSE)["choices"][0]
        assert choice["message"]["refusal"] == "No way"
        assert choice["refusal_details"]["position"] == 0

    def test_logprobs_stand_where_openai_puts_them(self, http: httpx.Client) -> None:
        choice = ask(http, logprobs=True, **EVERY)["choices"][0]
        assert choice["logprobs"]["content"] is None
        tokens = [entry["token"] for entry in choice["logprobs"]["refusal"]]
        assert "".join(tokens).startswith("No way")


def test_a_client_that_leaves_disturbs_nobody(http: httpx.Client) -> None:
    body = {"messages": HELLO, "stream": True, "ignore_eos": True, "max_tokens": 400} | ANSWER
    for _ in range(4):
        with http.stream("POST", CHAT, json=body) as response:
            next(response.iter_lines())
    assert ask(http, **REFUSE)["choices"][0]["message"]["refusal"] == "No way"
