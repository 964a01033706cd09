"""A small server with a dial, to be asked as a user's client asks the real one.

Its prompts are of the form "LABEL SCORE": the score, a probability, is that of the label's refuse
token, and the other category's is 0. "comply 0.7" scores 0.7 for safety, a harmless look-alike.
"""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from steering.settings import log_odds_of

CATEGORIES = ("safety", "temporal")
HABIT = 0.5


@dataclass
class Served:
    """The server's address, how it behaves, and what it was asked."""

    url: str = ""
    scores: bool = True
    dial: bool = True
    scope: str = "first_token"
    """Of requests that name none."""
    ceiling: float = 1.0
    """The largest threshold that the operator lets a client set."""
    model: str = "small"
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    waiting: int = 0
    most_waiting: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def log_odds(score: float) -> float:
    """Of a probability, finite as a server gives it."""
    return min(max(log_odds_of(score), -50.0), 50.0)


def scores_of(text: str) -> dict[str, float]:
    label, _, score = text.partition(" ")
    value = float(score) if score.replace(".", "").isdecimal() else 0.0
    own = "temporal" if label == "temporal" else "safety"
    return {name: value if name == own else 0.0 for name in CATEGORIES}


def answer(body: dict[str, Any], served: Served) -> JSONResponse:
    text = body["messages"][-1]["content"]
    allowed = {"model", "messages", "tools", "tool_choice", "temperature", "max_tokens"}
    if served.dial:
        allowed |= {"refusal_rates", "refusal_thresholds", "refusal_scope"}
    if served.scores:
        allowed |= {"refusal_scores"}
    if unknown := sorted(body.keys() - allowed):
        return fault(f"{unknown[0]} is not accepted")
    if "forbidden" in text:
        return fault("messages: holds a control token")
    if "as JSON" in text:
        return completion({"role": "assistant", "content": verdict(text)}, {}, {})
    thresholds = dict.fromkeys(CATEGORIES, HABIT) | body.get("refusal_thresholds", {})
    if max(thresholds.values()) > served.ceiling:
        return fault("refusal_thresholds: above the operator's ceiling")
    scores = scores_of(text)
    named = [
        name for name in CATEGORIES if scores[name] >= thresholds[name] and thresholds[name] < 1
    ]
    message: dict[str, Any] = {"role": "assistant", "content": "Yes."}
    if named:
        message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    if not served.dial:
        message = {"role": "assistant", "content": "Sorry, no." if named else "Sure."}
        return completion(message, {}, {})
    details: dict[str, Any] = {
        "refused": bool(named),
        "category": named[0] if named else None,
        "position": 0,
    }
    if body.get("refusal_scores"):
        details["scores"] = {name: round(score) for name, score in scores.items()}
        details["log_odds"] = {name: log_odds(score) for name, score in scores.items()}
    settings = {"thresholds": thresholds, "scope": body.get("refusal_scope", served.scope)}
    return completion(message, {"refusal_details": details}, {"refusal_settings": settings})


def verdict(text: str) -> str:
    if "puzzling" in text:
        return "Hm."
    return "REFUSED." if "Sorry" in text else "answered"


def fault(message: str) -> JSONResponse:
    error = {"message": message, "type": "BadRequestError", "param": None, "code": 400}
    return JSONResponse({"error": error}, status_code=400)


def completion(
    message: dict[str, Any], of_choice: dict[str, Any], of_answer: dict[str, Any]
) -> JSONResponse:
    choice = {"index": 0, "message": message, "finish_reason": "stop", **of_choice}
    whole = {"id": "1", "object": "chat.completion", "created": 0, "model": "small"}
    return JSONResponse({**whole, "choices": [choice], **of_answer})


def application(served: Served) -> FastAPI:
    app = FastAPI()

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": served.model, "object": "model"}]}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> JSONResponse:
        body = await request.json()
        with served.lock:
            served.bodies.append(body)
            served.keys.add(request.headers["authorization"])
            served.waiting += 1
            served.most_waiting = max(served.most_waiting, served.waiting)
        await asyncio.sleep(0.005)
        response = answer(body, served)
        with served.lock:
            served.waiting -= 1
        return response

    return app


@pytest.fixture
def served() -> Iterator[Served]:
    state = Served()
    config = uvicorn.Config(application(state), port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    state.url = f"http://127.0.0.1:{port}/v1"
    yield state
    server.should_exit = True
    thread.join()
