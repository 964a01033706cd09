"""Refusals in a template's words: they cost the engine one token, and clients see no difference."""

import json
from typing import Any

import httpx
import pytest
from openai import OpenAI

from benchmarks.refusals import Bench
from tests.e2e import scripted, test_shapes
from tests.e2e.calls import ANSWER, CHAT, EVERY, HELLO, MODEL, REFUSE, TEMPLATE, ask
from tests.e2e.calls import streamed as streamed_by
from tests.e2e.faults import metric
from tests.e2e.server import Server
from training.records import Message, Record

ENGLISH, GERMAN = (scripted.TEMPLATES.languages[name] for name in ("en", "de"))
TEXT = ENGLISH["safety"]
SCHEMA = test_shapes.TestGrammars.SCHEMA
TOOLS = [test_shapes.WEATHER]
REFUSED: dict[str, Any] = TEMPLATE | REFUSE
MIDDLE: dict[str, Any] = TEMPLATE | EVERY
DETAILS = {"refused": True, "category": "safety", "position": 0, "text": "template"}
LOOKED_AT = 8
"""Tokens of the engine for a prompt that the score sample has drawn, at most."""


@pytest.fixture
def http(scripted_http: httpx.Client) -> httpx.Client:
    return scripted_http


def streamed(http: httpx.Client, **fields: Any) -> list[dict[str, Any]]:
    """The choices of a stream's chunks; no chunk names a control token."""
    chunks = streamed_by(http, **fields)
    assert not any(token in json.dumps(chunks) for token in scripted.MANIFEST.tokens)
    return [choice for chunk in chunks for choice in chunk["choices"]]


def said(choices: list[dict[str, Any]], kind: str) -> list[str]:
    return [choice["delta"][kind] for choice in choices if choice["delta"].get(kind)]


def test_a_whole_refusal(http: httpx.Client) -> None:
    done = ask(http, **REFUSED)
    (choice,) = done["choices"]
    assert choice["message"] == choice["message"] | {"content": None, "refusal": TEXT}
    assert choice["refusal_details"] == DETAILS
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", None)
    assert done["usage"]["completion_tokens"] == 0
    assert done["usage"]["total_tokens"] == done["usage"]["prompt_tokens"]


def test_a_stream_has_it_in_one_piece(http: httpx.Client) -> None:
    opening, whole = streamed(http, **REFUSED)
    assert opening["delta"] == {"role": "assistant", "content": None, "refusal": ""}
    assert whole["delta"] == {"refusal": TEXT}
    assert whole["refusal_details"] == DETAILS
    assert (whole["finish_reason"], whole["stop_reason"]) == ("stop", None)


def test_the_engine_writes_one_token(scripted_server: Server, http: httpx.Client) -> None:
    before = metric(scripted_server, "generation_tokens_total")
    assert ask(http, ignore_eos=True, max_tokens=400, **REFUSED)["choices"][0]["message"]["refusal"]
    assert metric(scripted_server, "generation_tokens_total") - before <= 1 + LOOKED_AT


@pytest.mark.parametrize("name", scripted.MANIFEST.names)
@pytest.mark.parametrize(("language", "texts"), [(None, ENGLISH), ("en", ENGLISH), ("de", GERMAN)])
def test_each_category_and_language_has_its_own(
    http: httpx.Client, name: str, language: str | None, texts: dict[str, str]
) -> None:
    rest = dict.fromkeys(scripted.MANIFEST.names, 1.0)
    fields = TEMPLATE | {"refusal_thresholds": rest | {name: 0.0}, "refusal_language": language}
    assert ask(http, **fields)["choices"][0]["message"]["refusal"] == texts[name]
    assert "".join(said(streamed(http, **fields), "refusal")) == texts[name]


def test_every_choice_has_its_own(http: httpx.Client) -> None:
    fields = {"n": 3, "temperature": 1} | REFUSED
    choices = ask(http, **fields)["choices"]
    assert [choice["message"]["refusal"] for choice in choices] == [TEXT] * 3
    chunks = streamed(http, **fields)
    assert sorted(choice["index"] for choice in chunks if choice["finish_reason"]) == [0, 1, 2]
    assert said(chunks, "refusal") == [TEXT] * 3


class TestInTheMiddle:
    def test_the_answer_stops_there(self, http: httpx.Client) -> None:
        done = ask(http, **MIDDLE)
        (choice,) = done["choices"]
        assert choice["message"] == choice["message"] | {"content": None, "refusal": TEXT}
        assert choice["refusal_details"] == DETAILS | {"position": 2}
        assert choice["finish_reason"] == "stop"
        assert done["usage"]["completion_tokens"] == 2

    @pytest.mark.parametrize("stop", [[], ["Two", "and a half"]], ids=["", "stop"])
    def test_a_stream_sends_content_and_then_the_template(
        self, http: httpx.Client, stop: list[str]
    ) -> None:
        choices = streamed(http, stop=stop, **MIDDLE)
        assert "".join(said(choices, "content")) == "One two"
        assert said(choices, "refusal") == [TEXT]
        assert choices[-1]["finish_reason"] == "stop"
        *earlier, last = [own["refusal_details"] for own in choices if "refusal_details" in own]
        assert not any(details["refused"] for details in earlier)
        assert last == DETAILS | {"position": 2}

    def test_choices_may_go_apart(self, http: httpx.Client) -> None:
        """Some are sampled past the word behind which the others are refused."""
        three = {str(scripted.token_id(" three")): 12}
        fields = {"n": 24, "temperature": 2, "logit_bias": three, "max_tokens": 8}
        choices = ask(http, **fields, **MIDDLE)["choices"]
        assert {choice["refusal_details"]["refused"] for choice in choices} == {True, False}
        for choice in choices:
            refused = choice["refusal_details"]["refused"]
            assert choice["message"]["refusal"] == (TEXT if refused else None)
            assert not (refused and choice["message"]["content"])

    def test_logprobs_and_ids_are_those_of_the_answer(self, http: httpx.Client) -> None:
        fields = {"logprobs": True, "top_logprobs": 2, "return_token_ids": True} | MIDDLE
        (choice,) = ask(http, **fields)["choices"]
        assert choice["token_ids"] == [scripted.token_id(word) for word in ("One", " two")]
        assert choice["logprobs"] == {"content": None, "refusal": []}
        choices = streamed(http, **fields)
        shown = [entry for c in choices for entry in (c["logprobs"] or {}).get("content") or ()]
        assert [entry["token"] for entry in shown] == ["One", " two"]


class TestWithOtherFields:
    @pytest.mark.parametrize(
        "fields",
        [
            {"max_tokens": 1},
            {"stop": ["help"]},
            {"include_stop_str_in_output": True, "stop": ["x"]},
            {"ignore_eos": True, "max_tokens": 50},
            {"logprobs": True, "top_logprobs": 3},
            {"response_format": SCHEMA},
            {"response_format": {"type": "json_object"}},
            {"tools": TOOLS, "tool_choice": "auto"},
            {
                "tools": [test_shapes.WEATHER],
                "tool_choice": "auto",
                "include_stop_str_in_output": True,
            },
            {"tools": TOOLS, "tool_choice": "required"},
            {"tools": TOOLS, "tool_choice": test_shapes.NAMED},
            {"include_reasoning": False},
            {"refusal_scores": True},
            {"stream_interval": 9},
        ],
        ids=str,
    )
    def test_a_refusal_is_the_same(self, http: httpx.Client, fields: dict[str, Any]) -> None:
        done = ask(http, **fields, **REFUSED)
        (choice,) = done["choices"]
        assert not any(token in json.dumps(done) for token in scripted.MANIFEST.tokens)
        assert choice["message"]["refusal"] == TEXT
        assert not choice["message"]["content"]
        assert not choice["message"].get("tool_calls")
        assert choice["finish_reason"] == "stop"
        choices = streamed(http, **fields, **REFUSED)
        assert said(choices, "refusal") == [TEXT]
        assert not said(choices, "content")
        assert choices[-1]["finish_reason"] == "stop"

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_answer_is_as_ever(self, http: httpx.Client, stream: bool) -> None:
        forced = {"tools": TOOLS, "tool_choice": "required"}
        for fields, kind in [
            ({}, "content"),
            ({"response_format": SCHEMA}, "content"),
            (forced, "arguments"),
        ]:
            plain, with_template = (
                written(http, stream, **{**fields, **own, **ANSWER}) for own in ({}, TEMPLATE)
            )
            assert plain == with_template
            assert plain[kind]

    def test_a_dry_run_writes_nothing(self, http: httpx.Client) -> None:
        (choice,) = ask(http, dry_run=True, **REFUSED)["choices"]
        assert choice["message"]["refusal"] is None
        assert choice["refusal_details"] == {"refused": True, "category": "safety", "position": 0}

    def test_usage_in_a_stream(self, http: httpx.Client) -> None:
        *_, last = streamed_by(http, stream_options={"include_usage": True}, **REFUSED)
        assert last["usage"]["completion_tokens"] == 0


def written(http: httpx.Client, stream: bool, **fields: Any) -> dict[str, str]:
    """What an answer says, and with what it calls."""
    if stream:
        pieces = [choice["delta"] for choice in streamed(http, **fields)]
    else:
        pieces = [ask(http, **fields)["choices"][0]["message"]]
    calls = [call["function"] for piece in pieces for call in piece.get("tool_calls") or ()]
    return {
        "content": "".join(piece.get("content") or "" for piece in pieces),
        "arguments": "".join(call.get("arguments") or "" for call in calls),
    }


class TestOpenAI:
    def test_a_whole_refusal(self, scripted_sdk: OpenAI) -> None:
        done = scripted_sdk.chat.completions.create(model=MODEL, messages=HELLO, extra_body=REFUSED)
        message = done.choices[0].message
        assert (message.content, message.refusal) == (None, TEXT)

    def test_a_stream_ends_with_the_refusal_done(self, scripted_sdk: OpenAI) -> None:
        with scripted_sdk.chat.completions.stream(
            model=MODEL, messages=HELLO, extra_body=REFUSED
        ) as stream:
            events = list(stream)
            final = stream.get_final_completion().choices[0]
        assert [event.refusal for event in events if event.type == "refusal.done"] == [TEXT]
        assert (final.message.content, final.message.refusal) == (None, TEXT)
        assert final.finish_reason == "stop"

    def test_a_refusal_goes_back_as_it_came(self, scripted_sdk: OpenAI) -> None:
        first = scripted_sdk.chat.completions.create(
            model=MODEL, messages=HELLO, extra_body=REFUSED
        )
        refused: Any = first.choices[0].message.model_dump(exclude_none=True)
        again = scripted_sdk.chat.completions.create(
            model=MODEL,
            messages=[*HELLO, refused, *HELLO],
            extra_body={"return_prompt_text": True} | ANSWER,
        )
        assert again.model_extra is not None
        assert TEXT in again.model_extra["prompt_text"]


@pytest.mark.parametrize(
    ("fields", "field", "what"),
    [
        ({"refusal_text": "both"}, "refusal_text", "'generated' or 'template'"),
        ({"refusal_text": True}, "refusal_text", "'generated' or 'template'"),
        (TEMPLATE | {"refusal_language": "fr"}, "refusal_language", "one of en, de, not 'fr'"),
        (TEMPLATE | {"refusal_language": 7}, "refusal_language", "valid string"),
        ({"refusal_language": "en"}, "refusal_language", "goes with refusal_text 'template'"),
        ({"refusal_texts": "template"}, "refusal_texts", "not a field of this server"),
    ],
)
def test_what_is_wrong_is_named(
    http: httpx.Client, fields: dict[str, Any], field: str, what: str
) -> None:
    answer = http.post(CHAT, json={"messages": HELLO} | fields)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert field in f"{error['param']} {error['message']}"
    assert what in error["message"]


def test_it_is_told_which_languages_there_are(http: httpx.Client) -> None:
    found = http.get("/v1/refusal/categories").json()
    assert (found["refusal_text"], found["refusal_languages"]) == ("generated", ["en", "de"])


def test_the_benchmark_measures_both_kinds(scripted_server: Server) -> None:
    record = Record((Message("user", "Hello"), Message("assistant", "No way")), "safety")
    with httpx.Client(base_url=f"{scripted_server.url}/v1", timeout=120) as client:
        measured = Bench(client, [record] * 3).measure(repetitions=2, concurrency=2)
    assert measured.of("generated")[1].min() == measured.of("generated")[1].max() == 4
    assert measured.of("template")[1].min() == measured.of("template")[1].max() == 1
    assert measured.seconds.shape == (2, 4, 3)
    assert measured.seconds.min() > 0
