"""Calls to the scripted model's server, and settings that make it answer or refuse."""

import json
from typing import Any

import httpx
from openai.types.chat import ChatCompletionMessageParam

MODEL = "scripted"
CHAT = "/v1/chat/completions"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
ANSWER: dict[str, Any] = {"refusal_rates": 0.0}
REFUSE: dict[str, Any] = {"refusal_thresholds": {"safety": 0.0}}
TEMPLATE: dict[str, Any] = {"refusal_text": "template"}
EVERY: dict[str, Any] = {"refusal_scope": "every_token"}


def ask(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    body = {"messages": HELLO, "temperature": 0} | fields
    response = http.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    done: dict[str, Any] = response.json()
    return done


def streamed(http: httpx.Client, **fields: Any) -> list[dict[str, Any]]:
    body = {"messages": HELLO, "temperature": 0, "stream": True} | fields
    text = http.post(CHAT, json=body).text
    return [
        json.loads(line.removeprefix("data: "))
        for line in text.splitlines()
        if line.startswith("data: {")
    ]


def pieces(chunks: list[dict[str, Any]], kind: str) -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get(kind) or "" for delta in deltas)
