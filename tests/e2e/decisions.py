"""Many prompts, sent as a client would, and what the gate decided for each."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tests.e2e.calls import CHAT
from training.records import Record

AT_ONCE = 32


async def _decide(
    client: httpx.AsyncClient, gate: asyncio.Semaphore, record: Record, settings: Mapping[str, Any]
) -> str | None:
    body = {
        "messages": [turn.as_dict() for turn in record.prompt.messages],
        "max_tokens": 1,
        "temperature": 0,
    }
    async with gate:
        response = await client.post(CHAT, json=body | dict(settings))
    response.raise_for_status()
    category: str | None = response.json()["choices"][0]["refusal_details"]["category"]
    return category


async def _decide_all(
    url: str, requests: Sequence[tuple[Record, Mapping[str, Any]]], at_once: int
) -> list[str | None]:
    gate = asyncio.Semaphore(at_once)
    # The server closes what says nothing for 5 s; a busy client would not notice in time.
    limits = httpx.Limits(max_connections=at_once, keepalive_expiry=1)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        return await asyncio.gather(*(_decide(client, gate, *request) for request in requests))


def decisions(
    url: str, requests: Sequence[tuple[Record, Mapping[str, Any]]], at_once: int = AT_ONCE
) -> list[str | None]:
    """The category that refused each (prompt, settings), None for an answer."""
    return asyncio.run(_decide_all(url, requests, at_once))
