import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from server.bodies import MIB, BodyGuard

LIMIT_MIB = 0.5
LIMIT = int(LIMIT_MIB * MIB)


@pytest.fixture
def served() -> FastAPI:
    """An application that says how many bytes it was sent, and how often."""
    application = FastAPI()
    application.state.args = Namespace(max_body_mib=LIMIT_MIB, body_timeout=0.2)
    application.state.calls = 0
    application.add_middleware(BodyGuard)

    @application.api_route("/", methods=["GET", "POST"])
    async def count(request: Request) -> int:
        application.state.calls += 1
        return len(await request.body())

    return application


@pytest.fixture
def client(served: FastAPI) -> Iterator[TestClient]:
    with TestClient(served) as client:
        yield client


def pieces(size: int) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    for start in range(0, size, 1000):
        yield b"x" * min(1000, size - start)


@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_a_body_within_the_limit_arrives_whole(client: TestClient, size: int) -> None:
    assert client.post("/", content=b"x" * size).json() == size
    assert client.post("/", content=pieces(size)).json() == size
    assert client.get("/").json() == 0


def test_a_larger_one_is_a_413(client: TestClient, served: FastAPI) -> None:
    for content in (b"x" * (LIMIT + 1), pieces(LIMIT + 1)):
        answer = client.post("/", content=content)
        assert answer.status_code == 413
        assert "larger than the 0.5 MiB" in answer.json()["error"]["message"]
        assert answer.headers["connection"] == "close"
    assert served.state.calls == 0


def test_a_length_that_is_no_number_is_not_believed(client: TestClient) -> None:
    headers = {"content-length": "-1"}
    assert client.post("/", content=b"x" * (LIMIT + 1), headers=headers).status_code == 413


def test_one_that_never_ends_is_a_408(served: FastAPI) -> None:
    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(served)
        async with httpx.AsyncClient(transport=transport, base_url="http://demur") as client:
            return await client.post("/", content=forever())

    answer = asyncio.run(send())
    assert answer.status_code == 408
    assert "within 0.2 seconds" in answer.json()["error"]["message"]
    assert served.state.calls == 0


def test_a_client_that_goes_away_meanwhile_gets_no_answer(served: FastAPI) -> None:
    messages: list[Any] = [
        {"type": "http.request", "body": b"half", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "app": served}
    asyncio.run(BodyGuard(served)(scope, receive, send))
    assert sent == []
    assert served.state.calls == 0


def test_a_client_that_goes_away_later_is_noticed(served: FastAPI) -> None:
    """What the application hears behind the body is what the connection says."""
    heard: list[str] = []

    async def application(_scope: Any, receive: Any, _send: Any) -> None:
        heard.extend([(await receive())["type"] for _ in range(3)])

    messages: list[Any] = [
        {"type": "http.request", "body": b"all", "more_body": False},
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "app": served}
    asyncio.run(BodyGuard(application)(scope, receive, send))
    assert heard == ["http.request", "http.disconnect", "http.disconnect"]
