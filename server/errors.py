"""Answers to requests that our middleware does not let through, in the shape of OpenAI's errors."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse

CLOSE = {"connection": "close"}
"""For answers to requests whose body was not read to its end."""


def error_response(
    status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error as vLLM's own handlers write them: type and code are those of the status."""
    error = {"message": message, "type": status.phrase, "param": None, "code": status.value}
    return JSONResponse({"error": error}, status, dict(headers or {}))
