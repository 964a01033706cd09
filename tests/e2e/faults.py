"""Clients that misbehave, and one that does not and checks that it is served meanwhile."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import httpx

from tests.e2e.calls import ANSWER, CHAT, HELLO, REFUSE
from tests.e2e.server import Server

KEY = "front-desk-key"
HEADERS = {"Authorization": f"Bearer {KEY}"}
LONG: dict[str, Any] = {"ignore_eos": True, "max_tokens": 950, "temperature": 1, "n": 8}
"""With the scripted model: seconds of work for the server."""
SAYS = {"content": "One two three four", "refusal": "No way"}
"""What the scripted model says."""
PAUSE_S = 0.02
LEAST = 2
"""An answer and a refusal at least, however short the fault is."""
LIMIT_S = 120
"""For what goes on while a server ends."""
IN_TIME_S = 60
"""A busy machine is slow; who is held up by somebody else's fault waits for minutes."""


class InFlight:
    """A request in a thread, for many choices at once or streamed."""

    def __init__(self, server: Server, fields: Mapping[str, Any], key: str = KEY) -> None:
        body = {"messages": HELLO} | LONG | ANSWER
        self._request = (server.url + CHAT, body | dict(fields))
        self._headers = {"Authorization": f"Bearer {key}"}
        self.status = 0
        self.text = ""
        self.cut_off = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        url, body = self._request
        try:
            with httpx.stream(
                "POST", url, json=body, headers=self._headers, timeout=LIMIT_S
            ) as answer:
                self.status = answer.status_code
                for piece in answer.iter_text():
                    self.text += piece
        except httpx.TransportError:
            self.cut_off = True

    def wait(self) -> "InFlight":
        """Return once it is answered or cut off."""
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()
        return self


class Bystander:
    """A client that goes on asking, alternately for an answer and a refusal, and checks both."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.wrong: list[str] = []
        self.served = 0
        self.slowest_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        kinds = (("content", ANSWER), ("refusal", REFUSE))
        with httpx.Client(base_url=self._server.url, headers=HEADERS, timeout=60) as client:
            while not self._done.wait(PAUSE_S) or self.served < LEAST:
                kind, settings = kinds[self.served % 2]
                start = time.monotonic()
                self._check(client, kind, {"messages": HELLO, "temperature": 0} | settings)
                self.slowest_s = max(self.slowest_s, time.monotonic() - start)
                self.served += 1

    def _check(self, client: httpx.Client, kind: str, body: dict[str, Any]) -> None:
        try:
            answer = client.post(CHAT, json=body)
            said = answer.json()["choices"][0]["message"][kind]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            self.wrong.append(repr(error))
        else:
            if said != SAYS[kind]:
                self.wrong.append(f"{kind}: {said!r}")


@contextmanager
def others_are_served(server: Server) -> Iterator[None]:
    """Somebody else's requests are answered rightly and in time while the block runs."""
    with Bystander(server) as bystander:
        yield
    assert bystander.wrong == [], server.output()[-4000:]
    assert bystander.slowest_s < IN_TIME_S


def opened(server: Server, body: dict[str, Any], receive_buffer: int = 4096) -> socket.socket:
    """A connection on which a request was sent and nothing is read, with a small buffer."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", server.port))
    content = json.dumps({"messages": HELLO} | body).encode()
    connection.sendall(head(len(content)) + content)
    return connection


def everything(connection: socket.socket) -> bytes:
    """What the server sends until it closes the connection, or says that the response is over."""
    received = b""
    while not received.endswith(b"0\r\n\r\n") and (piece := connection.recv(1 << 16)):
        received += piece
    return received


def head(length: int) -> bytes:
    """The head of a chat request whose body has so many bytes."""
    fields = HEADERS | {"Host": "demur", "Content-Type": "application/json"}
    fields["Content-Length"] = str(length)
    lines = [f"POST {CHAT} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def metric(server: Server, name: str) -> float:
    """The sum of a metric of vLLM's over its labels."""
    lines = httpx.get(f"{server.url}/metrics", headers=HEADERS).text.splitlines()
    own = [line for line in lines if line.startswith((f"vllm:{name}{{", f"vllm:{name} "))]
    assert own, name
    return sum(float(line.rpartition(" ")[2]) for line in own)


def wait_for(condition: Callable[[], bool], limit_s: float, what: str) -> None:
    """Return once `condition` holds; fail after `limit_s` seconds."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not within {limit_s} s: {what}"
        time.sleep(0.1)
