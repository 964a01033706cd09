"""A line of JSON for each request (`--request-log`): who asked for what, and what came of it.

Never holds an API key, and messages only with `--request-log-prompts`. docs/operations.md lists the
fields.
"""

import json
import logging
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.schema import ChatRequest

GUARD = "server.request_log.RequestLog"
"""For vLLM's `--middleware`."""
STANDARD_OUTPUT = Path("-")
QUIET = frozenset({"/health", "/metrics"})
"""Asked for all the time, by machines; not logged."""
_ADMITTED = "demur_request"
_VLLM = "request_metadata"
"""Where in a request's state vLLM (0.32) keeps its id and, at the end, its usage."""


def note(raw_request: Request | None, request: ChatRequest) -> None:
    """Remember what the body of a request was, for its line."""
    if raw_request is not None:
        setattr(raw_request.state, _ADMITTED, request)


def handler_for(path: Path) -> logging.Handler:
    """Writes lines to the end of the file; one that is moved away is opened anew.

    Raises OSError if it cannot be opened.
    """
    if path == STANDARD_OUTPUT:
        return logging.StreamHandler(sys.stdout)
    return WatchedFileHandler(path, encoding="utf-8")


@dataclass
class Course:
    """How a response went."""

    started_s: float
    status: int | None = None
    """None while there is no answer."""
    whole: bool = False
    """Whether its end was sent."""

    def note(self, message: Message) -> None:
        """See what the application sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.whole = not message.get("more_body", False)


class RequestLog:
    """ASGI middleware that writes the lines."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._logger = logging.Logger("demur.requests")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and write its line when all is over, however it ends."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            for handler in self._logger.handlers:
                handler.close()
            return
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        course = Course(time.monotonic())

        async def watched(message: Message) -> None:
            await send(message)
            course.note(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._write(scope, course)

    def _write(self, scope: Scope, course: Course) -> None:
        args: Namespace = scope["app"].state.args
        if not self._logger.handlers:
            self._logger.addHandler(handler_for(args.request_log))
        line = entry(scope, course, prompts=args.request_log_prompts)
        self._logger.info(json.dumps(line, ensure_ascii=False))


def entry(scope: Scope, course: Course, *, prompts: bool) -> dict[str, Any]:
    """The fields of one line."""
    state: Mapping[str, Any] = scope["state"]
    metadata = state.get(_VLLM)
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": getattr(metadata, "request_id", None),
        "key": _key_name(scope),
        "method": scope["method"],
        "path": scope["path"],
        "status": course.status,
        "whole": course.whole,
        "duration_ms": round((time.monotonic() - course.started_s) * 1000, 1),
    }
    request: ChatRequest | None = state.get(_ADMITTED)
    if request is None:
        return line
    line |= _usage(metadata) | {"stream": bool(request.stream)}
    if request.admitted:
        line |= _decisions(scope, request)
    if prompts:
        line["messages"] = request.model_dump(mode="json", include={"messages"})["messages"]
    return line


def _decisions(scope: Scope, request: ChatRequest) -> dict[str, Any]:
    chat = scope["app"].state.openai_serving_chat
    settings = chat.annotations.of_request(request)
    names = chat.checkpoint.manifest.names
    choices = [
        {
            "index": index,
            "refused": choice.refused,
            "category": None if choice.category is None else names[choice.category],
            "position": choice.position if choice.refused else None,
        }
        for index, choice in sorted(request.turn.choices.items())
    ]
    return {**settings.model_dump(exclude={"warnings"}), "choices": choices}


def _key_name(scope: Scope) -> str | None:
    """The name that the operator's policy gives the request's key, if it does."""
    chat = getattr(scope["app"].state, "openai_serving_chat", None)
    if chat is None:
        return None
    header = Headers(scope=scope).get("authorization")
    name: str | None = chat.operator.current.name_of(header)
    return name


def _usage(metadata: Any) -> dict[str, int | None]:
    usage = getattr(metadata, "final_usage_info", None)
    fields = ("prompt_tokens", "completion_tokens")
    return {field: getattr(usage, field, None) for field in fields}
