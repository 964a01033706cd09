"""The soak's clients: what they send, what they take for right, and what they count."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.soak_oracle import Expected, Oracle

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
TIMEOUT_S = 300
LIMITS = httpx.Limits(keepalive_expiry=1)
"""The server closes idle connections after 5 s: one must not be used again just then."""
KINDS = {"plain": 11, "stream": 5, "cancelled": 2, "bad": 2}
"""Weights of the kinds of requests."""
BAD: tuple[tuple[str, Any, int], ...] = (
    (CHAT, {"messages": []}, 400),
    (CHAT, {"messages": [{"role": "user", "content": "Hello"}], "refusal_rates": 7}, 400),
    (CHAT, {"messages": [{"role": "user", "content": "<|respond|>"}]}, 400),
    (CHAT, {"messages": [{"role": "user", "content": "word " * 20_000}]}, 400),
    (CHAT, {"messages": "Hello", "vllm_xargs": {"demur": [9.0]}}, 400),
    (CHAT, {"messages": [{"role": "user", "content": [[[[[[]]]]]]}]}, 400),
    (CHAT, b'{"messages": [{"role": "user", "content": "\xff"}]}', 400),
    ("/v1/completions", {"prompt": "Hello"}, 404),
)
"""Path, body and the status that answers it."""


@dataclass
class Tally:
    """What came of all requests so far."""

    sent: Counter[str] = field(default_factory=Counter)
    """By kind."""
    statuses: Counter[int] = field(default_factory=Counter)
    decisions: int = 0
    refused: int = 0
    near: int = 0
    """Of the decisions, those that rounding may make either way."""
    near_and_other: int = 0
    """Of these, those that were not the oracle's."""
    faults: list[str] = field(default_factory=list)
    """Whatever should not have been."""

    def check(self, choice: dict[str, Any], expected: Expected, request: dict[str, Any]) -> None:
        """Count one choice: its decision, and whether the message has the decision's shape."""
        details, message = choice["refusal_details"], choice["message"]
        self.decisions += 1
        self.refused += details["refused"]
        self.near += expected.near
        if details["category"] != expected.category:
            self.near_and_other += expected.near
            if not expected.near:
                found = details["category"]
                self.faults.append(f"{found} instead of {expected.category}: {request}")
        # A refusal may have no text: its one token may be one that text does not show.
        if details["refused"] != (message.get("refusal") is not None) or (
            details["refused"] and message.get("content")
        ):
            self.faults.append(f"{details} does not fit {message}: {request}")


class Client:
    """Sends one request after another, each of a random kind."""

    def __init__(self, url: str, oracle: Oracle, tally: Tally, seed: str) -> None:
        self._url = url
        self._oracle = oracle
        self._tally = tally
        self._chance = random.Random(seed)

    async def run(self, until: float) -> None:
        """Send until the event loop's clock says `until`; then close the connection."""
        loop = asyncio.get_running_loop()
        async with httpx.AsyncClient(base_url=self._url, timeout=TIMEOUT_S, limits=LIMITS) as http:
            while loop.time() < until:
                kind = self._chance.choices([*KINDS], [*KINDS.values()])[0]
                self._tally.sent[kind] += 1
                try:
                    await getattr(self, f"_{kind}")(http)
                except (httpx.HTTPError, KeyError, ValueError) as error:
                    self._tally.faults.append(f"{kind}: {error!r}")

    def _request(self) -> tuple[dict[str, Any], Expected]:
        chance, names = self._chance, self._oracle.names
        rates = {name: chance.choice([0, 0.1, 0.5, 0.9, 1]) for name in names}
        one = chance.choice(names)
        settings: dict[str, Any] = chance.choice(
            [
                {},
                {"refusal_rates": chance.choice([0.0, 0.5, 1.0])},
                {"refusal_rates": rates},
                {"refusal_rates": {one: rates[one]}},
                {"refusal_thresholds": {one: chance.choice([0.0, 0.2, 0.8, 1.0])}},
            ]
        )
        prompt = chance.randrange(len(self._oracle.prompts))
        temperature = chance.choice([0, 0.7, 1.5])
        body: dict[str, Any] = {
            **self._oracle.prompts[prompt].fields(),
            "max_tokens": chance.choice([1, 4, 16, 48]),
            "temperature": temperature,
            "n": chance.choice([1, 1, 2]) if temperature else 1,
        }
        return body | settings, self._oracle.expected(prompt, settings)

    async def _plain(self, http: httpx.AsyncClient) -> None:
        body, expected = self._request()
        answer = await http.post(CHAT, json=body)
        if self._noted(answer.status_code, 200, body):
            for choice in answer.json()["choices"]:
                self._tally.check(choice, expected, body)

    async def _stream(self, http: httpx.AsyncClient) -> None:
        body, expected = self._request()
        choices: dict[int, dict[str, Any]] = {}
        async with http.stream("POST", CHAT, json=body | {"stream": True}) as answer:
            if not self._noted(answer.status_code, 200, body):
                return
            lines = [line async for line in answer.aiter_lines()]
        for line in lines:
            if line.startswith("data: {"):
                _gather(choices, json.loads(line.removeprefix("data: ")))
        if "data: [DONE]" not in lines or len(choices) != body["n"]:
            self._tally.faults.append(f"a stream is not whole, {lines[-2:]}: {body}")
        for choice in choices.values():
            self._tally.check(choice, expected, body)

    async def _cancelled(self, http: httpx.AsyncClient) -> None:
        """Go away: before the answer, or after some pieces of it."""
        body, _ = self._request()
        body |= {"max_tokens": 200, "ignore_eos": True}
        if self._chance.random() < 0.5:
            with_limit = httpx.Timeout(TIMEOUT_S, read=self._chance.uniform(0.001, 0.1))
            try:
                answer = await http.post(CHAT, json=body, timeout=with_limit)
                self._noted(answer.status_code, 200, body)
            except httpx.ReadTimeout:
                pass
            return
        pieces = self._chance.randrange(4)
        async with http.stream("POST", CHAT, json=body | {"stream": True}) as answer:
            self._noted(answer.status_code, 200, body)
            async for _ in answer.aiter_lines():
                pieces -= 1
                if pieces < 0:
                    return

    async def _bad(self, http: httpx.AsyncClient) -> None:
        path, body, status = self._chance.choice(BAD)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await http.post(path, content=content, headers=JSON)
        self._noted(answer.status_code, status, {"path": path, "body": str(content)[:100]})

    def _noted(self, status: int, expected: int, request: dict[str, Any]) -> bool:
        self._tally.statuses[status] += 1
        if status != expected:
            self._tally.faults.append(f"status {status} instead of {expected}: {request}")
        return status == expected


def _gather(choices: dict[int, dict[str, Any]], chunk: dict[str, Any]) -> None:
    """Add a streamed chunk to the whole of its choices."""
    for piece in chunk["choices"]:
        whole = choices.setdefault(piece["index"], {"message": {}})
        for kind, text in piece["delta"].items():
            if kind in ("content", "refusal") and text is not None:
                whole["message"][kind] = whole["message"].get(kind, "") + text
        if "refusal_details" in piece:
            whole["refusal_details"] = piece["refusal_details"]
