"""Demur's routes, as an endpoint plugin of vLLM (`vllm.endpoint_plugins`)."""

import asyncio
from argparse import Namespace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.datastructures import State
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.chat_completion import api_router
from vllm.entrypoints.serve.utils.api_utils import validate_json_request
from vllm.logger import init_logger

from server.announce import announce
from server.chat import RefusalServingChat
from server.checkpoint import Checkpoint
from server.probe import prove_gate
from server.schema import ChatRequest

logger = init_logger("vllm.demur.plugin")
router = APIRouter()


@router.post("/v1/chat/completions", dependencies=[Depends(validate_json_request)])
async def create_chat_completion(request: ChatRequest, raw_request: Request) -> Any:
    """OpenAI's chat completions, with `refusal_rates` and `refusal_thresholds`."""
    return await api_router.create_chat_completion(request, raw_request)


class DemurPlugin:
    """Replaces vLLM's chat route by ours, once the gate has been proved."""

    name = "demur"
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        """Called by vLLM after its own routes are in place."""
        app.include_router(router)

    async def init_state(
        self, engine_client: EngineClient | None, state: State, args: Namespace
    ) -> None:
        """Called by vLLM before it listens: nothing is served until this returns.

        Raises ProbeError if the gate does not work, which ends the server.
        """
        if engine_client is None:
            raise RuntimeError("demur serves a model; vLLM's render server has none")
        checkpoint = Checkpoint.load(Path(args.model))
        await prove_gate(engine_client, checkpoint)
        state.openai_serving_chat = RefusalServingChat.taking_over(
            state.openai_serving_chat, checkpoint
        )
        self._announcement = asyncio.create_task(announce(args, checkpoint))
        logger.info("The gate is proved: one forced refusal per category and one forced answer")
