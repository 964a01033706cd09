from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.middleware.cors import CORSMiddleware

from server.cors import CorsGuard
from server.keys import KeyGuard

ORIGIN = {"origin": "https://app.example"}
PREFLIGHT = ORIGIN | {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization",
}


def client(origins: list[str]) -> TestClient:
    """As `demur-serve` puts it together, behind the guards that matter here."""
    application = FastAPI()
    application.add_api_route("/v1/models", lambda: "served")
    application.state.args = SimpleNamespace(
        allowed_origins=origins,
        allow_credentials=False,
        allowed_methods=["*"],
        allowed_headers=["*"],
        api_key=["key"],
    )
    application.add_middleware(CORSMiddleware, allow_origins=origins)  # vLLM's own
    application.add_middleware(KeyGuard)
    application.add_middleware(CorsGuard)
    return TestClient(application)


@pytest.mark.parametrize(("key", "status"), [("key", 200), ("wrong", 401)])
def test_a_page_of_another_origin_may_read_every_answer(key: str, status: int) -> None:
    headers = ORIGIN | {"authorization": f"Bearer {key}"}
    answer = client(["*"]).get("/v1/models", headers=headers)
    assert answer.status_code == status
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]


def test_preflights_need_no_key() -> None:
    answer = client([ORIGIN["origin"]]).options("/v1/models", headers=PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN["origin"]
    assert "authorization" in answer.headers["access-control-allow-headers"]


def test_origins_that_are_not_allowed_get_nothing() -> None:
    served = client(["https://other.example"])
    answer = served.get("/v1/models", headers=ORIGIN | {"authorization": "Bearer key"})
    assert "access-control-allow-origin" not in answer.headers
    assert served.options("/v1/models", headers=PREFLIGHT).status_code == 400
