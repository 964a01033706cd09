"""The images' entry point and health check, as the files that the images hold."""

import runpy
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from server.launch import parse

DOCKER = Path(__file__).parents[2] / "docker"
with_keys: Callable[[list[str], Path], list[str]] = runpy.run_path(str(DOCKER / "entrypoint.py"))[
    "with_keys"
]
ARGUMENTS = ["/checkpoints/demo", "--port", "8000"]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return tmp_path / "api_keys"


def test_without_a_secret_the_arguments_stay(secret: Path) -> None:
    assert with_keys(ARGUMENTS, secret) == ARGUMENTS


def test_vllm_gets_every_key(secret: Path) -> None:
    secret.write_text("first\n\n  second \r\nthird")
    assert parse(with_keys(ARGUMENTS, secret)).api_key == ["first", "second", "third"]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_secret_without_a_key_does_not_open_the_server(secret: Path, text: str) -> None:
    secret.write_text(text)
    with pytest.raises(SystemExit, match="holds no API key"):
        with_keys(ARGUMENTS, secret)


def test_a_key_that_looks_like_a_flag_is_named_by_its_line_only(secret: Path) -> None:
    secret.write_text("first\n-second")
    with pytest.raises(SystemExit, match="line 2") as error:
        with_keys(ARGUMENTS, secret)
    assert "second" not in str(error.value)


class Health(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_exits_with_what_the_server_says(
    status: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Health)
    monkeypatch.setattr(Health, "status", status)
    monkeypatch.setattr(sys, "argv", ["health.py", str(server.server_port)])
    thread = Thread(target=server.handle_request)
    thread.start()
    try:
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(DOCKER / "health.py"))
    finally:
        thread.join()
        server.server_close()
    assert int(end.value.code or 0) == code
