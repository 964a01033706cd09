"""Processes that die or are told to stop; the two servers of `pair` end here."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable

import httpx
import pytest

from tests.e2e.calls import ANSWER, CHAT, HELLO, REFUSE
from tests.e2e.faults import (
    HEADERS,
    KEY,
    LIMIT_S,
    LONG,
    SAYS,
    InFlight,
    opened,
    others_are_served,
    wait_for,
)
from tests.e2e.server import Server

ENGINE = "VLLM::EngineCore"
MANY = 48
ENDS_S = 30
"""Within which a server whose engine died has ended."""


def engine_of(server: Server) -> int:
    """Process id of the server's engine."""
    found = subprocess.run(["ps", "-eo", "pid=,pgid=,args="], capture_output=True, text=True)
    for line in found.stdout.splitlines():
        pid, group, args = line.split(maxsplit=2)
        if int(group) == server.process.pid and args.startswith(ENGINE):
            return int(pid)
    raise AssertionError(found.stdout)


def started(server: Server) -> list[InFlight]:
    """A request for many choices and a streamed one for a single choice, which the engine writes.

    It steps through all of them at once, at the pace of the many, and has hundreds of steps to go
    when this returns; the server is never behind with what is streamed.
    """
    requests = [InFlight(server, {"n": MANY}), InFlight(server, {"n": 1, "stream": True})]
    wait_for(lambda: "One" in requests[1].text, LIMIT_S, "the streamed one runs")
    return requests


def test_two_servers_share_a_checkpoint(pair: tuple[Server, Server]) -> None:
    with others_are_served(pair[0]), others_are_served(pair[1]):
        time.sleep(2)


def test_a_server_whose_engine_is_killed_ends_with_a_failure(
    pair: tuple[Server, Server], report: Callable[[str], None]
) -> None:
    """Requests in flight fail, or their streams end; the other server does not notice."""
    dying, other = pair
    requests = started(dying)
    with others_are_served(other):
        os.kill(engine_of(dying), signal.SIGKILL)
        start = time.monotonic()
        status = dying.process.wait(ENDS_S)
        took = time.monotonic() - start
        plain, stream = (request.wait() for request in requests)
    assert status == 1
    assert "demur-serve: the engine died" in dying.output()
    wait_for(lambda: dying.leftovers() == [], 30, "the workers have ended")
    assert plain.cut_off or (plain.status == 500 and '"error"' in plain.text)
    assert stream.status == 200
    assert '"error"' in stream.text or stream.cut_off
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{dying.url}/health")
    report(f"engine killed: the server ended with status {status} after {took:.1f} s")


def test_sigterm_lets_requests_finish_and_takes_no_more(
    pair: tuple[Server, Server], report: Callable[[str], None]
) -> None:
    server = pair[1]
    requests = started(server)
    with opened(server, LONG | ANSWER | {"stream": True}):  # and never read
        stopped_by_sigterm(server, requests, report)


def stopped_by_sigterm(
    server: Server, requests: list[InFlight], report: Callable[[str], None]
) -> None:
    os.kill(server.process.pid, signal.SIGTERM)
    start = time.monotonic()
    wait_for(lambda: "SIGTERM: no more requests" in server.output(), 30, "the signal is noted")
    late = httpx.post(server.url + CHAT, json={"messages": HELLO} | REFUSE, headers=HEADERS)
    health = httpx.get(f"{server.url}/health")
    plain, stream = (request.wait() for request in requests)
    status = server.process.wait(LIMIT_S)
    took = time.monotonic() - start
    assert (late.status_code, health.status_code) == (503, 503)
    assert late.headers["retry-after"] == "1"
    assert "stopping" in late.json()["error"]["message"]
    assert plain.status == 200
    choices = json.loads(plain.text)["choices"]
    assert [choice["finish_reason"] for choice in choices] == ["length"] * MANY
    assert all(choice["message"]["content"].startswith(SAYS["content"]) for choice in choices)
    assert stream.status == 200
    assert stream.text.count('"finish_reason":"length"') == 1
    assert stream.text.rstrip().endswith("data: [DONE]")
    assert status == 0, "who never reads does not hold up the end"
    assert server.leftovers() == []
    assert KEY not in server.output()
    report(f"SIGTERM with requests in flight: ended with status {status} after {took:.1f} s")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)
