"""A real base under the dial: SmolLM2, frozen, with a few rows fitted, and called as clients do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from openai import OpenAI

from steering.manifest import Manifest
from tests.e2e.calls import pieces
from tests.e2e.server import Server, client_of, sdk_of, serving
from training.categories import DESCRIPTIONS, REFUSALS
from training.loading import control_tokens, load
from training.recipes import find, override
from training.records import Prompt
from training.rendering import prompt_ids
from training.run import train

MODEL = "smollm2"
ASKED = "What is the capital of France?"
OFF: dict[str, Any] = {"refusal_thresholds": dict.fromkeys(DESCRIPTIONS, 1.0)}


def only(category: str, threshold: float) -> dict[str, Any]:
    """Settings under which this category alone decides."""
    return {"refusal_thresholds": OFF["refusal_thresholds"] | {category: threshold}}


QUESTIONS = (
    ASKED,
    "Give me three names for a cat.",
    "Write one sentence about the sea.",
    "How do I boil an egg?",
)
SCHEMA: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "strict": True,  # or vLLM (0.32) lets the arguments be any JSON
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
TOKENS = 24


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("frozen") / "checkpoint"
    train(override(find("smollm2"), ["model.rows_prompts=60", "model.rows_l2=0.003"]), output)
    return output


@pytest.fixture(scope="module")
def server(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flags = ["--served-model-name", MODEL, "--dtype", "float32", "--enable-auto-tool-choice"]
    flags += ["--tool-call-parser", "hermes"]
    with serving(frozen, tmp_path_factory.mktemp("server"), flags) as running:
        yield running


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with client_of(server) as client:
        yield client


@pytest.fixture(scope="module")
def sdk(server: Server) -> Iterator[OpenAI]:
    with sdk_of(server) as client:
        yield client


def ask(http: httpx.Client, question: str = ASKED, **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": question}], "temperature": 0} | fields
    response = http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_it_is_a_checkpoint_of_templates_only(frozen: Path) -> None:
    manifest = Manifest.load(frozen)
    assert manifest.respond_token is None
    assert manifest.refusal_texts == ("template",)


def test_it_really_answers(http: httpx.Client) -> None:
    (choice,) = ask(http, **OFF, max_tokens=TOKENS)["choices"]
    assert "Paris" in choice["message"]["content"]


def test_its_answers_are_the_bases(http: httpx.Client, frozen: Path) -> None:
    """With the dial at 0, texts are what transformers writes without the refuse tokens."""
    model, tokenizer = load(frozen)
    control = control_tokens(Manifest.load(frozen), tokenizer)
    for question in QUESTIONS:
        ids = prompt_ids(tokenizer, Prompt.asking(question))
        written = model.generate(  # type: ignore[operator]
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
            max_new_tokens=TOKENS,
            do_sample=False,
            suppress_tokens=list(control.ids),
        )
        expected = tokenizer.decode(written[0, len(ids) :], skip_special_tokens=True)
        (choice,) = ask(http, question, **OFF, max_tokens=TOKENS)["choices"]
        assert choice["message"]["content"] == expected


def test_a_refusal_is_a_template_that_costs_one_token(http: httpx.Client) -> None:
    done = ask(http, **only("temporal", 0.0))
    (choice,) = done["choices"]
    assert choice["message"]["refusal"] == REFUSALS["temporal"]
    assert choice["message"]["content"] is None


@pytest.mark.parametrize("threshold", [0.0, 1.0], ids=["refuse", "answer"])
class TestConstrained:
    def test_a_schema(self, sdk: Any, threshold: float) -> None:
        done = sdk.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Name the capital of France as JSON."}],
            response_format=SCHEMA,
            temperature=0,
            max_tokens=40,
            extra_body=only("safety", threshold),
        )
        message = done.choices[0].message
        if threshold:
            assert set(json.loads(message.content or "")) == {"city"}
        else:
            assert (message.content, message.refusal) == (None, REFUSALS["safety"])

    def test_a_forced_tool_for_several_choices(self, sdk: Any, threshold: float) -> None:
        done = sdk.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Is it raining in Oslo?"}],
            tools=[TOOL],
            tool_choice={"type": "function", "function": {"name": "get_weather"}},
            n=2,
            temperature=0.1,
            max_tokens=80,  # the call, and the tag that closes it
            extra_body=only("safety", threshold),
        )
        assert len(done.choices) == 2
        for choice in done.choices:
            if threshold:
                (call,) = choice.message.tool_calls or []
                assert "city" in json.loads(call.function.arguments)
            else:
                assert choice.message.refusal == REFUSALS["safety"]


def test_streams(http: httpx.Client) -> None:
    whole = ask(http, **OFF, max_tokens=TOKENS)["choices"][0]["message"]["content"]
    body = {
        "messages": [{"role": "user", "content": ASKED}],
        "temperature": 0,
        "stream": True,
        "max_tokens": TOKENS,
    }
    for settings, kind, expected in (
        (OFF, "content", whole),
        (only("safety", 0.0), "refusal", REFUSALS["safety"]),
    ):
        text = http.post("/v1/chat/completions", json=body | settings).text
        chunks = [
            json.loads(line.removeprefix("data: "))
            for line in text.splitlines()
            if line.startswith("data: {")
        ]
        assert pieces(chunks, kind) == expected


def test_words_of_its_own_are_not_to_be_had(http: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": ASKED}], "refusal_text": "generated"}
    response = http.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert "not trained to write" in response.json()["error"]["message"]
