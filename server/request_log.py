"""A line of JSON for each request (`--request-log`): who asked for what, and what came of it.

Never holds an API key, and messages only with `--request-log-prompts`. docs/operations.md lists the
fields.
"""

import json
import logging
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.routes import path_of
from server.schema import ChatRequest

GUARD = "server.request_log.RequestLog"
"""For vLLM's `--middleware`."""
STANDARD_OUTPUT = Path("-")
QUIET = frozenset({"/health", "/metrics"})
"""Asked for all the time, by machines; not logged."""
_ADMITTED = "demur_request"
_VLLM = "request_metadata"
"""Where in a request's state vLLM (0.32) keeps its id and, at the end, its usage."""


def note(raw_request: Request | None, *requests: ChatRequest) -> None:
    """Remember what the body of a request was, for its line: one, or each input's of several.

    Of inputs, each has its decision among its turn's choices, under the input's number.
    """
    if raw_request is not None:
        setattr(raw_request.state, _ADMITTED, requests)


def handler_for(path: Path) -> logging.Handler:
    """Writes lines to the end of the file; one that is moved away is opened anew.

    Raises OSError if it cannot be opened.
    """
    if path == STANDARD_OUTPUT:
        return logging.StreamHandler(sys.stdout)
    return _FileHandler(path, encoding="utf-8")


class _FileHandler(WatchedFileHandler):
    """A file that cannot be opened anew is said on standard error, and no request fails of it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)


@dataclass
class Course:
    """How a response went."""

    started_s: float
    status: int | None = None
    """None while there is no answer."""
    whole: bool = False
    """Whether its end was sent."""
    _gone: bool = False

    def heard(self, message: Message) -> None:
        """See what the client sends: that it has gone, for instance."""
        self._gone |= message["type"] == "http.disconnect"

    def sent(self, message: Message) -> None:
        """See what the application sends; behind a client that has gone, it reaches nobody."""
        if self._gone:
            return
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
        if scope["type"] != "http" or path_of(scope) in QUIET:
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        course = Course(time.monotonic())

        async def hear() -> Message:
            message = await receive()
            course.heard(message)
            return message

        async def tell(message: Message) -> None:
            await send(message)
            course.sent(message)

        try:
            await self._app(scope, hear, tell)
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
    requests: Sequence[ChatRequest] = state.get(_ADMITTED, ())
    if not requests:
        return line
    line |= _usage(metadata) | {"stream": bool(requests[0].stream)}
    if all(request.admitted for request in requests):
        line |= _decisions(scope, requests)
    if prompts:
        messages = [_messages(request) for request in requests]
        line["messages"] = messages if len(messages) > 1 else messages[0]
    return line


def _decisions(scope: Scope, requests: Sequence[ChatRequest]) -> dict[str, Any]:
    annotations = scope["app"].state.openai_serving_chat.annotations
    settings = annotations.of_request(requests[0])
    decided = {index: each for one in requests for index, each in one.turn.choices.items()}
    choices = [
        {"index": index, **annotations.details(choice)} for index, choice in sorted(decided.items())
    ]
    return {**settings.model_dump(exclude={"warnings"}), "choices": choices}


def _messages(request: ChatRequest) -> Any:
    return request.model_dump(mode="json", include={"messages"})["messages"]


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
