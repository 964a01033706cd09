"""OpenAI's moderations: the model as a classifier, in one forward pass for each input."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal
from uuid import uuid4

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.exceptions import VLLMValidationError

from server import request_log
from server.chat import RefusalServingChat
from server.dial_fields import DialFields
from server.judge import Judgement
from server.schema import ChatRequest, RefusalSettings, probabilities
from server.turn import Choice

MOST_INPUTS = 1000


class TextPart(BaseModel):
    """A part of one input; images are not looked at, so they are refused."""

    type: Literal["text"]
    text: str


class Turn(BaseModel):
    """A message of a conversation that is judged as a whole."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class ModerationRequest(DialFields):
    """A request to `/v1/moderations`."""

    model_config = ConfigDict(extra="forbid")

    input: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=MOST_INPUTS)]
        | Annotated[list[TextPart], Field(min_length=1)]
        | Annotated[list[Turn], Field(min_length=1)]
    ) = Field(
        description="A text, several texts, the parts of one text, or the messages of a chat."
    )
    model: str | None = None

    def conversations(self) -> list[list[dict[str, str]]]:
        """The messages of each input."""
        match self.input:
            case str(text):
                texts = [text]
            case [Turn(), *_] as turns:
                return [[turn.model_dump() for turn in turns]]  # type: ignore[union-attr]
            case [TextPart(), *_] as parts:
                texts = ["\n".join(part.text for part in parts)]  # type: ignore[union-attr]
            case _:
                texts = list(self.input)  # type: ignore[arg-type]
        return [[{"role": "user", "content": text}] for text in texts]


class ModerationResult(BaseModel):
    """What is made of one input, in OpenAI's shape with this checkpoint's categories."""

    flagged: bool
    """Whether a chat request with these messages and settings would be refused."""
    categories: dict[str, bool]
    """Which categories reach their thresholds; the one that refuses is always among them."""
    category_scores: dict[str, float]
    """Probability of every category's refuse token."""
    category_applied_input_types: dict[str, list[str]]


class ModerationResponse(BaseModel):
    """The answer of `/v1/moderations`."""

    id: str
    model: str
    results: list[ModerationResult]
    refusal_settings: RefusalSettings


async def moderate(
    chat: RefusalServingChat, request: ModerationRequest, raw_request: Request
) -> ModerationResponse | ErrorResponse:
    """Judge every input by the caller's policy and the request's settings.

    Raises VLLMValidationError (a 400) if an input or a setting is not admitted.
    """
    asked = [_chat_request(request, messages) for messages in request.conversations()]
    request_log.note(raw_request, *asked)
    for index, one in enumerate(asked):
        with _naming(index):
            await chat.admit(one, raw_request)
    results = []
    judged = await asyncio.gather(*(_judged(chat, one, index) for index, one in enumerate(asked)))
    for index, (one, judgement) in enumerate(zip(asked, judged, strict=True)):
        if isinstance(judgement, ErrorResponse):
            return judgement
        one.turn.choices = {index: Choice(category=judgement.category)}
        names = chat.annotations.names
        results.append(_result(names, one.turn.steering.thresholds, judgement))
    return ModerationResponse(
        id=f"modr-{uuid4().hex}",
        model=chat.model_name(asked[0]),
        results=results,
        refusal_settings=chat.annotations.of_request(asked[0]),
    )


async def _judged(
    chat: RefusalServingChat, request: ChatRequest, index: int
) -> Judgement | ErrorResponse:
    with _naming(index):
        return await chat.judge_request(request)


@contextmanager
def _naming(index: int) -> Iterator[None]:
    """Say which input is at fault."""
    try:
        yield
    except VLLMValidationError as error:
        if error.parameter != "messages":
            raise
        what = str(error).removesuffix(f" (parameter={error.parameter})")
        raise VLLMValidationError(f"input {index}: {what}", parameter="input") from error


def _chat_request(request: ModerationRequest, messages: list[dict[str, str]]) -> ChatRequest:
    dial = request.model_dump(include=set(DialFields.model_fields), exclude_none=True)
    try:
        return ChatRequest.model_validate(
            {"model": request.model, "messages": messages, "refusal_scores": True} | dial
        )
    except ValidationError as error:
        raise VLLMValidationError(str(error), parameter="input") from error


def _result(
    names: tuple[str, ...], thresholds: tuple[float, ...], judgement: Judgement
) -> ModerationResult:
    scores = judgement.log_odds or ()
    flagged = judgement.category is not None
    reached = [score >= threshold for score, threshold in zip(scores, thresholds, strict=True)]
    return ModerationResult(
        flagged=flagged,
        categories={
            # The engine has the last word where rounding tips a score over its threshold.
            name: flagged and (judgement.category == index or reached[index])
            for index, name in enumerate(names)
        },
        category_scores=probabilities(names, scores),
        category_applied_input_types={name: ["text"] for name in names},
    )
