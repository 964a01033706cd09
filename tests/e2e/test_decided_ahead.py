"""A checkpoint without a respond token, whose refusals are templates. A grammar would mask its
refuse tokens, so a request with one is decided before it is answered.
"""

import json
from itertools import product
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from steering.settings import log_odds_of
from tests.e2e import scripted, test_shapes
from tests.e2e.calls import ANSWER, CHAT, EVERY, HELLO, MODEL, REFUSE, ask, pieces, streamed
from tests.e2e.server import Server, sdk_of
from tests.steering import oracle

SCHEMA = test_shapes.TestGrammars.SCHEMA
WEATHER, NAMED = test_shapes.WEATHER, test_shapes.NAMED
STRICT: Any = {"type": "function", "function": WEATHER["function"] | {"strict": True}}
GRAMMARS: dict[str, dict[str, Any]] = {
    "json schema": {"response_format": SCHEMA},
    "json mode": {"response_format": {"type": "json_object"}},
    "choice": {"structured_outputs": {"choice": ["One"]}},
    "tool named": {"tools": [WEATHER], "tool_choice": NAMED},
    "tool required": {"tools": [WEATHER], "tool_choice": "required"},
    # Tools that are only offered: vLLM puts a grammar around their calls, if there are any.
    "tool strict": {"tools": [STRICT], "tool_choice": "auto"},
    "one call at most": {
        "tools": [WEATHER],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
    },
}
FREE: dict[str, dict[str, Any]] = {"words": {}, "tool offered": {"tools": [WEATHER]}}
EVERYTHING = GRAMMARS | FREE
NAMES = scripted.FROZEN.names
TEXTS = scripted.TEMPLATES.languages["en"]
THRESHOLDS = tuple(product((0.0, 0.06, 0.25, 1.0), (0.0, 0.01, 0.03, 1.0)))
"""Of safety, whose p is 0.12, and temporal, whose p is 0.016."""


@pytest.fixture
def http(frozen_http: httpx.Client) -> httpx.Client:
    return frozen_http


def test_the_thresholds_are_on_both_sides() -> None:
    safety, temporal = reference_scores()
    assert log_odds_of(0.06) < safety < log_odds_of(0.25)
    assert log_odds_of(0.01) < temporal < log_odds_of(0.03)


def reference_scores() -> list[float]:
    """[C] what the reference makes of a prompt, which ends in a line break."""
    row = scripted.logits(manifest=scripted.FROZEN)[scripted.token_id("\n")]
    refuse = [scripted.token_id(token) for token in scripted.FROZEN.tokens]
    return oracle.scores(row.double().tolist(), refuse)


@pytest.mark.parametrize("kind", EVERYTHING)
def test_the_decision_is_the_references(http: httpx.Client, kind: str) -> None:
    scores = reference_scores()
    for thresholds in THRESHOLDS:
        fields = {"refusal_thresholds": dict(zip(NAMES, thresholds, strict=True)), "max_tokens": 40}
        expected = oracle.decision(scores, [log_odds_of(each) for each in thresholds])
        (choice,) = ask(http, **fields, **EVERYTHING[kind])["choices"]
        details = choice["refusal_details"]
        assert details["category"] == (None if expected is None else NAMES[expected]), thresholds
        assert details["refused"] == (expected is not None)


@pytest.mark.parametrize("settings", [ANSWER, REFUSE], ids=["answer", "refuse"])
@pytest.mark.parametrize("kind", EVERYTHING)
class TestShapes:
    """An answer keeps to its grammar, and a refusal is what it is without one."""

    def test_whole(self, http: httpx.Client, kind: str, settings: dict[str, Any]) -> None:
        done = ask(http, **settings, **EVERYTHING[kind])
        (choice,) = done["choices"]
        if settings is REFUSE:
            refused(choice)
            assert done["usage"]["completion_tokens"] == 0
        else:
            answered(kind, choice["message"])
        assert done["refusal_settings"]["thresholds"]["safety"] == (settings is not REFUSE)

    def test_streamed(self, http: httpx.Client, kind: str, settings: dict[str, Any]) -> None:
        chunks = streamed(http, **settings, **EVERYTHING[kind])
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        if settings is REFUSE:
            assert pieces(chunks, "refusal") == TEXTS["safety"]
            assert not pieces(chunks, "content")
            assert not any(choice["delta"].get("tool_calls") for choice in choices)
            assert choices[-1]["finish_reason"] == "stop"
            assert choices[-1]["refusal_details"]["category"] == "safety"
            return
        calls = [call for c in choices for call in c["delta"].get("tool_calls") or ()]
        arguments = "".join(call["function"].get("arguments") or "" for call in calls)
        called = [{"function": {"name": "weather", "arguments": arguments}}] if calls else []
        answered(kind, {"content": pieces(chunks, "content"), "tool_calls": called})

    def test_several(self, http: httpx.Client, kind: str, settings: dict[str, Any]) -> None:
        fields = {"n": 3, "temperature": 1, "max_tokens": 400} | settings | EVERYTHING[kind]
        for choice in ask(http, **fields)["choices"]:
            assert choice["refusal_details"]["refused"] == (settings is REFUSE)
            if settings is REFUSE:
                refused(choice)
        chunks = streamed(http, **fields)
        assert pieces(chunks, "refusal") == TEXTS["safety"] * 3 * (settings is REFUSE)


def refused(choice: dict[str, Any]) -> None:
    message = choice["message"]
    assert (message["content"], message["refusal"]) == (None, TEXTS["safety"])
    assert not message.get("tool_calls")
    details = {"refused": True, "category": "safety", "position": 0, "text": "template"}
    assert choice["refusal_details"].items() >= details.items()
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", None)


def answered(kind: str, message: dict[str, Any]) -> None:
    assert not message.get("refusal")
    match kind:
        case "json schema":
            assert json.loads(message["content"]) == {"x": 1}
        case "json mode":
            assert message["content"].startswith("{")
        case "choice":
            assert message["content"] == "One"
        case "tool named" | "tool required":
            (call,) = message["tool_calls"]
            assert call["function"]["name"] == "weather"
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
        case _:
            # Tools that are only offered, and the words without them.
            assert message["content"].strip() == "One two three four"


@pytest.mark.parametrize("kind", GRAMMARS)
class TestWithOtherFields:
    @pytest.mark.parametrize(
        "fields",
        [
            {"max_tokens": 1},
            {"logprobs": True, "top_logprobs": 3},
            {"include_reasoning": False},
            {"seed": 7, "temperature": 2},
            {"logit_bias": {str(scripted.token_id("One")): 100}},
            {"refusal_text": "template"},
            {"ignore_eos": True, "max_tokens": 9},
        ],
        ids=str,
    )
    def test_a_refusal_is_the_same(
        self, http: httpx.Client, kind: str, fields: dict[str, Any]
    ) -> None:
        done = ask(http, **(GRAMMARS[kind] | fields | REFUSE))
        refused(done["choices"][0])
        assert not any(token in json.dumps(done) for token in scripted.FROZEN.tokens)

    def test_scores_come_along(self, http: httpx.Client, kind: str) -> None:
        for settings in (ANSWER, REFUSE):
            (choice,) = ask(http, refusal_scores=True, **settings, **GRAMMARS[kind])["choices"]
            found = choice["refusal_details"]["log_odds"].values()
            assert list(found) == pytest.approx(reference_scores(), abs=1e-3)

    def test_a_dry_run_says_the_same(self, http: httpx.Client, kind: str) -> None:
        for settings in (ANSWER, REFUSE):
            done = ask(http, dry_run=True, n=2, temperature=1, **settings, **GRAMMARS[kind])
            assert done["usage"]["completion_tokens"] == 0
            for choice in done["choices"]:
                assert choice["refusal_details"]["refused"] == (settings is REFUSE)

    def test_not_with_every_token(self, http: httpx.Client, kind: str) -> None:
        response = http.post(CHAT, json={"messages": HELLO} | GRAMMARS[kind] | EVERY)
        assert response.status_code == 400
        error = response.json()["error"]
        assert error["param"] in GRAMMARS[kind]
        assert "refusal_scope first_token only" in error["message"]


def test_every_token_refuses_in_the_middle(http: httpx.Client) -> None:
    (choice,) = ask(http, **EVERY)["choices"]
    details = {"refused": True, "category": "safety", "position": 2, "text": "template"}
    assert choice["refusal_details"] == details
    assert choice["message"]["refusal"] == TEXTS["safety"]
    chunks = streamed(http, **EVERY)
    assert pieces(chunks, "content") == "One two"
    assert pieces(chunks, "refusal") == TEXTS["safety"]
    (choice,) = ask(http, **EVERY, **REFUSE)["choices"]
    refused(choice)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_an_answer_is_no_longer_than_asked(http: httpx.Client, length: int) -> None:
    done = ask(http, max_tokens=length, **ANSWER)
    assert done["usage"]["completion_tokens"] == length
    assert done["choices"][0]["message"]["content"] == "".join(("One", " two", " three")[:length])
    assert done["choices"][0]["finish_reason"] == "length"


def test_moderations_decide_alike(http: httpx.Client) -> None:
    for safety, flagged in ((0.06, True), (0.25, False)):
        thresholds = {"safety": safety, "temporal": 1.0}
        body = {"input": "Hello", "refusal_thresholds": thresholds}
        (result,) = http.post("/v1/moderations", json=body).json()["results"]
        assert result["flagged"] == flagged
        score = log_odds_of(result["category_scores"]["safety"])
        assert score == pytest.approx(reference_scores()[0], abs=1e-3)


def test_openais_parse_has_the_refusal(frozen_server: Server) -> None:
    class Number(BaseModel):
        x: int

    with sdk_of(frozen_server) as client:
        for settings in (ANSWER, REFUSE):
            done = client.chat.completions.parse(
                model=MODEL, messages=HELLO, response_format=Number, extra_body=settings
            )
            message = done.choices[0].message
            assert (message.parsed is None) == (settings is REFUSE)
            assert message.refusal == (TEXTS["safety"] if settings is REFUSE else None)


def test_its_own_words_cannot_be_asked_for(http: httpx.Client) -> None:
    response = http.post(CHAT, json={"messages": HELLO, "refusal_text": "generated"})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == "refusal_text"
    assert (
        "refusals are templates, since its model was not trained to write them" in error["message"]
    )
    view = http.get("/v1/refusal/categories").json()
    assert (view["refusal_text"], view["refusal_texts"]) == ("template", ["template"])
