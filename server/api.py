"""The HTTP routes that are ours."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, Response
from vllm.entrypoints.openai.chat_completion import api_router
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.entrypoints.serve.utils.api_utils import validate_json_request, with_cancellation

from server.calibration_view import (
    CalibrationQuery,
    CalibrationView,
    CategoriesView,
    calibration_view,
    categories_view,
)
from server.chat import RefusalServingChat
from server.moderation import ModerationRequest, ModerationResponse, moderate
from server.operator_policy import authorization
from server.routes import CALIBRATION, CATEGORIES, CHAT, MODERATIONS
from server.schema import ChatRequest
from steering.policy import Policy

router = APIRouter()
_IS_JSON = [Depends(validate_json_request)]


@router.post(CHAT, dependencies=_IS_JSON)
async def create_chat_completion(request: ChatRequest, raw_request: Request) -> Any:
    """OpenAI's chat completions, with a dial."""
    return await api_router.create_chat_completion(request, raw_request)


@router.post(
    MODERATIONS,
    dependencies=_IS_JSON,
    # Not `response_model`: there is no response for a client that has gone.
    response_model=None,
    responses={200: {"model": ModerationResponse}},
)
@with_cancellation  # type: ignore[untyped-decorator]
async def create_moderation(request: ModerationRequest, raw_request: Request) -> Response:
    """OpenAI's moderations, by this model's categories."""
    answer = await moderate(_chat(raw_request), request, raw_request)
    status = answer.error.code if isinstance(answer, ErrorResponse) else 200
    return JSONResponse(answer.model_dump(), status_code=status)


@router.get(CATEGORIES)
async def list_categories(raw_request: Request) -> CategoriesView:
    """The categories, their defaults, and how far this client may turn them."""
    chat = _chat(raw_request)
    dtype = str(chat.model_config.dtype).removeprefix("torch.")
    return categories_view(
        chat.checkpoint.manifest, _policy(raw_request), chat.admission.texts, dtype
    )


@router.get(CALIBRATION)
async def show_calibration(
    query: Annotated[CalibrationQuery, Query()], raw_request: Request
) -> CalibrationView:
    """What settings come to: thresholds, shares, intervals and curves."""
    return await calibration_view(_policy(raw_request), query)


def _chat(request: Request) -> RefusalServingChat:
    handler: RefusalServingChat = request.app.state.openai_serving_chat
    return handler


def _policy(request: Request) -> Policy:
    return _chat(request).operator.current.of(authorization(request))
