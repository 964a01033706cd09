from pathlib import Path

import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.testclient import TestClient

from server import routes
from server.routes import ALLOWED, RouteGuard, prune
from tests.stock import stock_routes


def app() -> FastAPI:
    """An application with allowed routes, and some that nobody reviewed."""
    served = FastAPI()
    for method, path in sorted(ALLOWED - {("GET", "/openapi.json")}):
        served.add_api_route(path, lambda: "served", methods=[method])
    served.add_api_route("/v1/completions", lambda: "ungated", methods=["POST"])
    served.add_api_route("/v1/models", lambda: "ungated", methods=["POST"])
    served.add_middleware(RouteGuard)
    return served


def paths(application: FastAPI) -> set[tuple[str, str]]:
    return {
        (method, path)
        for path, operations in application.openapi()["paths"].items()
        for method in operations
    }


def test_pruning_leaves_allowed_routes_alone() -> None:
    application = app()
    prune(application)
    assert ("post", "/v1/completions") not in paths(application)
    assert ("post", "/v1/chat/completions") in paths(application)
    assert ("post", "/v1/models") not in paths(application)


class TestGuard:
    @pytest.mark.parametrize(("method", "path"), sorted(ALLOWED))
    def test_passes_what_is_allowed(self, method: str, path: str) -> None:
        with TestClient(app()) as client:
            assert client.request(method, path).status_code == 200

    @pytest.mark.parametrize(
        "path",
        [
            "/v1/completions",
            "/v1/completions/",
            "//v1/completions",
            "/docs",
            "/playground",
            "/ping",
        ],
    )
    def test_answers_404_as_openai_does_for_anything_else(self, path: str) -> None:
        with TestClient(app()) as client:
            response = client.post(path)
        assert response.status_code == 404
        assert response.json()["error"]["code"] == 404

    def test_knows_where_it_is_mounted(self) -> None:
        with TestClient(app(), root_path="/api") as client:
            assert client.get("/health").status_code == 200
            assert client.post("/v1/completions").status_code == 404

    def test_is_there_once_our_plugin_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(routes, "_pruned", [])
        with pytest.raises(RuntimeError, match="did not load the endpoint plugin 'demur'"):
            _ = routes.guard
        prune(app())
        assert routes.guard is RouteGuard
        with pytest.raises(AttributeError, match="no attribute 'gard'"):
            _ = routes.gard

    def test_serves_no_websockets(self) -> None:
        application = app()

        async def realtime(websocket: WebSocket) -> None:
            await websocket.accept()

        application.add_api_websocket_route("/v1/realtime", realtime)
        with (
            TestClient(application) as client,
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/v1/realtime"),
        ):
            pass


def test_the_document_has_every_route_that_vllm_registers() -> None:
    document = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    assert len({path for _, path in stock_routes()}) > 40
    served = {f"`{method} {path}`" for method, path in stock_routes() & ALLOWED}
    removed = {f"`{path}`" for _, path in stock_routes() - ALLOWED}
    assert [route for route in sorted(served | removed) if route not in document] == []
