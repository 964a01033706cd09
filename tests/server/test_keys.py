from argparse import Namespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from server.keys import KeyGuard

KEY = "kiosk-key"
OPEN = ("/", "/health", "/playground/playground.js")
PATHS = (
    *OPEN,
    "/metrics",
    "/playground/",
    "/openapi.json",
    "/v1/models",
    "/elsewhere",
    "/health/more",
)


def client(*keys: str, root_path: str = "") -> TestClient:
    application = FastAPI(openapi_url=None)
    application.state.args = Namespace(api_key=list(keys))
    for path in PATHS:
        application.add_api_route(path, lambda: "served", methods=["GET", "OPTIONS"])
    application.add_middleware(KeyGuard)
    return TestClient(application, root_path=root_path)


@pytest.mark.parametrize("path", PATHS)
def test_every_route_but_the_health_check_and_the_page_needs_a_key(path: str) -> None:
    asked = client("another", KEY)
    assert asked.get(path).status_code == (200 if path in OPEN else 401)
    assert asked.get(path, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


@pytest.mark.parametrize(
    "header", ["", KEY, f"Basic {KEY}", "Bearer", "Bearer ", "Bearer kiosk-ke", f"Bearer {KEY}x"]
)
def test_what_is_no_key(header: str) -> None:
    answer = client(KEY).get("/metrics", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer KEY" in answer.json()["error"]["message"]
    assert KEY not in answer.text


def test_without_keys_everything_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    for asked in (client(), client("")):
        assert asked.get("/metrics").status_code == 200


def test_a_key_from_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vllm.envs.VLLM_API_KEY", KEY, raising=False)
    assert client().get("/metrics").status_code == 401


def test_no_method_goes_without() -> None:
    assert client(KEY).options("/v1/models").status_code == 401


def test_it_knows_where_it_is_mounted() -> None:
    asked = client(KEY, root_path="/api")
    assert asked.get("/health").status_code == 200
    assert asked.get("/metrics").status_code == 401
