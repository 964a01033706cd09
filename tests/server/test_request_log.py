import json
import logging
from argparse import Namespace
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.responses import StreamingResponse

from server.annotations import Annotations
from server.checkpoint import Checkpoint
from server.launch import LaunchError, parse
from server.operator_policy import KeyPolicy, OperatorPolicy, sha256_of
from server.request_log import Course, RequestLog, handler_for, note
from server.schema import ChatRequest
from server.turn import Choice, Turn

KEY = "kiosk-key"
ASKED = {"messages": [{"role": "user", "content": "a private matter"}], "refusal_rates": 0.5}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests.jsonl"


def application(checkpoint: Checkpoint, path: Path, *, prompts: bool = False) -> FastAPI:
    """Answers as the handler does: what was decided stands in the request's turn."""
    served = FastAPI()
    operator = OperatorPolicy(
        checkpoint.policy, {sha256_of(KEY): KeyPolicy("kiosk", checkpoint.policy)}
    )
    served.state.args = Namespace(request_log=path, request_log_prompts=prompts)
    served.state.openai_serving_chat = SimpleNamespace(
        annotations=Annotations(checkpoint.manifest.names),
        checkpoint=checkpoint,
        operator=SimpleNamespace(current=operator),
    )
    served.add_middleware(RequestLog)
    served.add_api_route("/health", lambda: "well")

    @served.post("/answer")
    async def answer(body: dict[str, Any], raw_request: Request) -> Any:
        request = ChatRequest.model_validate(body)
        note(raw_request, request)
        turn = Turn(checkpoint.policy.resolve(request.settings), checkpoint.control)
        request.begin(turn)
        usage = SimpleNamespace(prompt_tokens=7, completion_tokens=3)
        raw_request.state.request_metadata = SimpleNamespace(
            request_id="chatcmpl-1", final_usage_info=usage
        )
        if request.stream:
            return StreamingResponse(pieces(turn, broken=request.seed == 0))
        turn.choices = {1: Choice(category=1, position=2), 0: Choice()}
        return "answered"

    @served.post("/turned-down")
    async def turned_down(body: dict[str, Any], raw_request: Request) -> Any:
        note(raw_request, ChatRequest.model_validate(body))
        raise RuntimeError("not admitted")

    return served


async def pieces(turn: Turn, *, broken: bool) -> AsyncIterator[str]:
    yield "one"
    turn.choices = {0: Choice(category=0)}
    if broken:
        raise ConnectionError("the client went away")
    yield "two"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_request_is_a_line(checkpoint: Checkpoint, path: Path) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    with TestClient(application(checkpoint, path)) as client:
        client.post("/answer", json=ASKED, headers=headers)
    (line,) = lines(path)
    assert line.pop("time").endswith("+00:00")
    assert 0 <= line.pop("duration_ms") < 60_000
    assert line.pop("thresholds").keys() == {"safety", "temporal"}
    assert line == {
        "request_id": "chatcmpl-1",
        "key": "kiosk",
        "method": "POST",
        "path": "/answer",
        "status": 200,
        "whole": True,
        "stream": False,
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "requested_rates": 0.5,
        "requested_thresholds": None,
        "requested_budget": None,
        "budget_rate": None,
        "effective_rates": {"safety": 0.5, "temporal": 0.5},
        "over_refusal": 0.0,
        "scope": "first_token",
        "choices": [
            {"index": 0, "refused": False, "category": None, "position": None},
            {"index": 1, "refused": True, "category": "temporal", "position": 2},
        ],
    }


def test_neither_keys_nor_messages_are_in_it(checkpoint: Checkpoint, path: Path) -> None:
    with TestClient(application(checkpoint, path)) as client:
        for key in (KEY, "stolen"):
            client.post("/answer", json=ASKED, headers={"Authorization": f"Bearer {key}"})
    text = path.read_text()
    assert [line["key"] for line in lines(path)] == ["kiosk", None]
    for secret in (KEY, "stolen", "private matter"):
        assert secret not in text


def test_messages_are_if_the_operator_asks(checkpoint: Checkpoint, path: Path) -> None:
    with TestClient(application(checkpoint, path, prompts=True)) as client:
        client.post("/answer", json=ASKED)
    assert lines(path)[0]["messages"] == ASKED["messages"]


def test_a_stream_is_a_line_at_its_end(checkpoint: Checkpoint, path: Path) -> None:
    with TestClient(application(checkpoint, path)) as client:
        client.post("/answer", json=ASKED | {"stream": True})
    (line,) = lines(path)
    assert (line["status"], line["whole"], line["stream"]) == (200, True, True)
    assert line["choices"][0]["category"] == "safety"


def test_a_stream_that_is_cut_off_says_so(checkpoint: Checkpoint, path: Path) -> None:
    with TestClient(application(checkpoint, path), raise_server_exceptions=False) as client:
        client.post("/answer", json=ASKED | {"stream": True, "seed": 0})
    (line,) = lines(path)
    assert (line["status"], line["whole"]) == (200, False)


def test_an_answer_that_reaches_nobody_is_none() -> None:
    """vLLM ends a request whose client has gone with a response all the same."""
    course = Course(0)
    for message in ({"type": "http.request"}, {"type": "http.disconnect"}):
        course.heard(message)
    course.sent({"type": "http.response.start", "status": 200})
    course.sent({"type": "http.response.body"})
    assert (course.status, course.whole) == (None, False)


def test_inputs_of_a_moderation_are_one_line(checkpoint: Checkpoint, path: Path) -> None:
    application_ = application(checkpoint, path, prompts=True)

    @application_.post("/moderations")
    async def moderate(raw_request: Request) -> str:
        inputs = [ChatRequest.model_validate(ASKED) for _ in range(2)]
        note(raw_request, *inputs)
        for index, request in enumerate(inputs):
            request.begin(Turn(checkpoint.policy.resolve(request.settings), checkpoint.control))
            request.turn.choices = {index: Choice(category=index)}
        return "moderated"

    with TestClient(application_) as client:
        client.post("/moderations", json={})
    (line,) = lines(path)
    assert [choice["category"] for choice in line["choices"]] == ["safety", "temporal"]
    assert [choice["index"] for choice in line["choices"]] == [0, 1]
    assert line["messages"] == [ASKED["messages"]] * 2


def test_a_file_that_cannot_be_opened_anew_fails_no_request(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    with TestClient(application(checkpoint, folder / "log")) as client:
        client.post("/answer", json=ASKED)
        folder.rename(tmp_path / "moved")
        assert client.post("/answer", json=ASKED).status_code == 200
    assert "FileNotFoundError" in capsys.readouterr().err


def test_what_is_turned_down_has_no_decision(checkpoint: Checkpoint, path: Path) -> None:
    with TestClient(application(checkpoint, path), raise_server_exceptions=False) as client:
        client.post("/turned-down", json=ASKED)
        client.post("/answer", content=b"{")
        client.get("/nowhere")
    first, *rest = lines(path)
    assert first["stream"] is False
    assert [line["status"] for line in rest] == [422, 404]
    for line in (first, *rest):
        assert "choices" not in line
        assert line["request_id"] is None


def test_health_checks_are_not_logged(checkpoint: Checkpoint, path: Path) -> None:
    with TestClient(application(checkpoint, path)) as client:
        client.get("/health")
        client.post("/answer", json=ASKED)
    assert len(lines(path)) == 1


def test_a_file_that_was_moved_away_is_opened_anew(checkpoint: Checkpoint, path: Path) -> None:
    with TestClient(application(checkpoint, path)) as client:
        client.post("/answer", json=ASKED)
        path.rename(path.with_name("old"))
        client.post("/answer", json=ASKED)
    assert len(lines(path)) == len(lines(path.with_name("old"))) == 1


def test_standard_output_is_a_dash(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    handler_for(Path("-")).emit(logging.makeLogRecord({"msg": "a line"}))
    assert capsys.readouterr().out == "a line\n"
    assert not path.exists()


def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"--request-log .*/nowhere/log cannot be written"):
        parse(["demo", "--request-log", str(tmp_path / "nowhere" / "log")])
