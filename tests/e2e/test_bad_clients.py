"""Clients that misbehave get an answer or a close, and the others are served meanwhile."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.calls import ANSWER, CHAT, HELLO, REFUSE, streamed
from tests.e2e.conftest import REQUESTS
from tests.e2e.faults import (
    HEADERS,
    KEY,
    LONG,
    everything,
    head,
    metric,
    opened,
    others_are_served,
    wait_for,
)
from tests.e2e.server import Server

MIB = 1 << 20
JSON = {"content-type": "application/json"}
DEPTHS = (100, 900, 50_000)


@pytest.fixture(scope="module")
def server(pair: tuple[Server, Server]) -> Server:
    return pair[0]


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers=HEADERS, timeout=30) as client:
        yield client


def error_of(answer: httpx.Response, status: int) -> str:
    """The message of an error in OpenAI's shape."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == status
    message: str = error["message"]
    return message


@pytest.mark.parametrize("path", ["/metrics", "/version", "/openapi.json", "/v1/models"])
def test_every_route_needs_a_key(server: Server, path: str) -> None:
    for headers in ({}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": KEY}):
        error_of(httpx.get(server.url + path, headers=headers), 401)
    assert httpx.get(server.url + path, headers=HEADERS).status_code == 200


def test_but_the_health_check(server: Server) -> None:
    assert httpx.get(f"{server.url}/health").status_code == 200
    error_of(httpx.post(server.url + CHAT, json={"messages": HELLO}), 401)


def test_a_huge_body(server: Server, http: httpx.Client) -> None:
    """With and without a declared length; just below the limit it is only too long a prompt."""
    text = json.dumps({"messages": [{"role": "user", "content": "a" * (40 * MIB)}]}).encode()
    with others_are_served(server):
        for content in (text, iter([text[:MIB]] * 40)):
            assert "1 MiB" in error_of(http.post(CHAT, content=content, headers=JSON), 413)
        allowed = text[: MIB - 100] + b'"}]}'
        assert "context length" in error_of(http.post(CHAT, content=allowed, headers=JSON), 400)


def test_many_small_messages(server: Server, http: httpx.Client) -> None:
    """What takes longest to check in a body of the largest size that is taken."""
    message = '{"role":"user","content":""}'
    content = f'{{"messages":[{",".join([message] * (MIB // len(message) - 2000))}]}}'
    with others_are_served(server):
        error_of(http.post(CHAT, content=content.encode(), headers=JSON), 400)


def trickle() -> Iterator[bytes]:
    while True:
        yield b" "
        time.sleep(0.05)


def test_a_body_that_never_ends(server: Server) -> None:
    """Trickling, and silent; who promised a body and hangs up is nobody's trouble."""
    with others_are_served(server):
        silent = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        silent.sendall(head(1000) + b"{")
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as gone:
            gone.sendall(head(1000) + b"{")
        answer = httpx.post(server.url + CHAT, content=trickle(), headers=HEADERS | JSON)
        assert "within 2 seconds" in error_of(answer, 408)
        with silent:
            assert everything(silent).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("before", "opening", "closing", "after"),
    [
        ('{"messages":[{"role":"user","content":', "[", "]", "}]}"),
        ('{"messages":[],"refusal_rates":', '{"safety":', "}", "}"),
        ('{"messages":[],"tools":[{"function":{"parameters":', '{"a":', "}", "}}]}"),
        ('{"messages":[],"response_format":', "[", "]", "}"),
        ("", "[", "]", ""),
    ],
)
def test_a_body_that_is_nested_deeply(
    server: Server,
    http: httpx.Client,
    before: str,
    opening: str,
    closing: str,
    after: str,
    depth: int,
) -> None:
    middle = "" if opening == "[" else "1"
    content = before + opening * depth + middle + closing * depth + after
    with others_are_served(server):
        error_of(http.post(CHAT, content=content.encode(), headers=JSON), 400)


@pytest.mark.parametrize(
    "content",
    [
        b'{"messages":[{"role":"user","content":"\xff\xfe"}]}',
        b'{"messages":[{"role":"user","content":"\\ud800"}]}',
        b"\xff" * 1000,
        b"",
        b"\x00",
        b'{"messages":',
        b'{"messages":[],"seed":' + b"9" * 5000 + b"}",
        b"null",
    ],
)
def test_a_body_that_is_no_text_or_no_request(http: httpx.Client, content: bytes) -> None:
    error_of(http.post(CHAT, content=content, headers=JSON), 400)


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"]
)
def test_a_content_type_that_is_not_json(http: httpx.Client, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    content = json.dumps({"messages": HELLO}).encode()
    assert "application/json" in error_of(http.post(CHAT, content=content, headers=headers), 400)


def test_what_is_no_http(server: Server) -> None:
    with others_are_served(server):
        for sent in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\x00" * 10_000):
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
                connection.sendall(sent)
                assert b" 400 " in connection.recv(1000)


def test_slow_readers(server: Server) -> None:
    """Streams that nobody reads hold up nobody, and are whole when they are read at last."""
    with others_are_served(server):
        body = LONG | ANSWER | {"stream": True, "max_tokens": 300}
        readers = [opened(server, body) for _ in range(2)]
        wait_for(lambda: metric(server, "num_requests_running") == 0, 120, "streams are written")
    with others_are_served(server):
        pass  # while the streams lie there
    for reader in readers:
        with reader:
            assert b"data: [DONE]" in everything(reader)[-100:]


def test_clients_that_vanish(server: Server) -> None:
    """In the middle of a stream, and before an answer: the engine stops working for them."""
    before = metric(server, "generation_tokens_total")
    with others_are_served(server):
        waiting = [opened(server, LONG | ANSWER) for _ in range(3)]
        streams = [opened(server, LONG | ANSWER | {"stream": True}) for _ in range(3)]
        for stream in streams:
            assert stream.recv(100).startswith(b"HTTP/1.1 200 OK")
        for connection in (*waiting, *streams):
            connection.close()
        wait_for(lambda: metric(server, "num_requests_running") == 0, 60, "requests are ended")
    written = metric(server, "generation_tokens_total") - before
    assert written < 0.5 * 6 * LONG["n"] * LONG["max_tokens"]


def test_many_connections_that_say_nothing(server: Server) -> None:
    with others_are_served(server):
        address = ("127.0.0.1", server.port)
        idle = [socket.create_connection(address, timeout=10) for _ in range(300)]
        for connection in idle:
            connection.close()


def test_everybody_at_once(server: Server) -> None:
    """Short of all that: a burst of short requests, each with a connection of its own."""
    found: list[int] = []

    def ask() -> None:
        answer = httpx.post(
            server.url + CHAT,
            json={"messages": HELLO, "max_tokens": 2},
            headers=HEADERS,
            timeout=60,
        )
        found.append(answer.status_code)

    threads = [threading.Thread(target=ask) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 64


def test_a_request_is_a_line_in_the_log(server: Server, http: httpx.Client) -> None:
    answer = http.post(CHAT, json={"messages": HELLO, "temperature": 0} | REFUSE).json()
    line = line_of(server, answer["id"])
    assert (line["status"], line["whole"], line["stream"], line["key"]) == (200, True, False, None)
    assert line["choices"] == [{"index": 0, **answer["choices"][0]["refusal_details"]}]
    assert line["effective_rates"] == answer["refusal_settings"]["effective_rates"]
    assert line["requested_thresholds"] == {"safety": 0}
    assert line["prompt_tokens"] == answer["usage"]["prompt_tokens"]
    assert line["completion_tokens"] == answer["usage"]["completion_tokens"]


def test_a_stream_is_a_line_with_all_its_choices(server: Server, http: httpx.Client) -> None:
    usage = {"stream_options": {"include_usage": True}}
    chunks = streamed(http, **(LONG | ANSWER | usage | {"max_tokens": 20}))
    line = line_of(server, chunks[0]["id"])
    assert (line["status"], line["whole"], line["stream"]) == (200, True, True)
    assert [choice["refused"] for choice in line["choices"]] == [False] * LONG["n"]
    assert line["completion_tokens"] == chunks[-1]["usage"]["completion_tokens"] > 0


def test_what_is_turned_down_is_a_line(server: Server) -> None:
    before = len(requests_of(server))
    turned_down: dict[int, dict[str, Any]] = {
        400: {"headers": HEADERS, "json": {"messages": []}},
        401: {"json": {"messages": HELLO}},
        408: {"headers": HEADERS | JSON, "content": trickle()},
        413: {"headers": HEADERS | JSON, "content": b" " * 2 * MIB},
    }
    for status, request in turned_down.items():
        error_of(httpx.post(server.url + CHAT, **request), status)

    def are_written() -> bool:
        return turned_down.keys() <= {line["status"] for line in requests_of(server)[before:]}

    wait_for(are_written, 30, "their lines are written")


def test_a_client_that_goes_away_leaves_a_line(server: Server) -> None:
    before = len(requests_of(server))
    with opened(server, LONG | ANSWER | {"stream": True}) as stream:
        assert stream.recv(100).startswith(b"HTTP/1.1 200 OK")

    def is_written() -> bool:
        lines = requests_of(server)[before:]
        return any(line.get("stream") and not line["whole"] for line in lines)

    wait_for(is_written, 60, "its line is written")


def line_of(server: Server, request_id: str) -> dict[str, Any]:
    """The line of a request, which is written once the response was sent."""
    found: list[dict[str, Any]] = []

    def is_written() -> bool:
        found[:] = [line for line in requests_of(server) if line["request_id"] == request_id]
        return found != []

    wait_for(is_written, 30, "the line is written")
    (line,) = found
    return line


def requests_of(server: Server) -> list[dict[str, Any]]:
    text = server.log.with_name(REQUESTS).read_text(encoding="utf-8")
    assert KEY not in text
    assert str(HELLO[0]["content"]) not in text
    return [json.loads(line) for line in text.splitlines()]


def test_nothing_of_this_is_an_error_of_the_servers(server: Server) -> None:
    output = server.output()
    assert "Traceback" not in output
    assert '" 500 ' not in output
    assert KEY not in output
