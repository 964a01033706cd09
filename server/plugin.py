"""Demur's routes, as an endpoint plugin of vLLM (`vllm.endpoint_plugins`)."""

import asyncio
from argparse import Namespace
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.serve.exception_handling.handlers.http import http_exception_handler
from vllm.logger import init_logger
from vllm.parser import Parser, ParserManager
from vllm.tokenizers import TokenizerLike

from server import api, drain, engine_death, hangup
from server.admission import Admission, Limits
from server.annotations import Annotations
from server.announce import announce
from server.chat import RefusalServingChat
from server.checkpoint import Checkpoint
from server.judge import Judge
from server.metrics import Metrics
from server.operator_policy import LivePolicy, api_keys
from server.page import page_router
from server.probe import prove_gate
from server.refusal_texts import RefusalTexts
from server.routes import PLUGIN, prune
from server.watch import Watch

logger = init_logger("vllm.demur.plugin")


class DemurPlugin:
    """Replaces vLLM's chat route by ours, once the gate has been proved."""

    name = PLUGIN
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        """Called by vLLM after its own routes are in place: ours replaces, the others go."""
        app.include_router(api.router)
        # FastAPI raises Starlette's, where a body cannot be parsed; vLLM (0.32) handles FastAPI's.
        app.exception_handler(HTTPException)(http_exception_handler)
        if app.state.args.playground:
            app.include_router(page_router())
        prune(app)

    async def init_state(
        self, engine_client: EngineClient | None, state: State, args: Namespace
    ) -> None:
        """Called by vLLM before it listens: nothing is served until this returns.

        Raises ProbeError if the gate does not work, which ends the server.
        """
        if engine_client is None:
            raise RuntimeError("demur serves a model; vLLM's render server has none")
        engine_death.watch(engine_client)
        drain.finish_first(engine_client)
        checkpoint = Checkpoint.load(Path(args.model), verified=True)  # by `server.launch`
        operator = LivePolicy(checkpoint, args.refusal_policy, api_keys(args))
        texts = RefusalTexts.of_server(args, checkpoint.manifest)
        if hangup.is_asked_for(args):
            hangup.listen(operator.reload)
            hangup.listen(texts.reload)
        await prove_gate(engine_client, checkpoint)
        config = engine_client.vllm_config
        limits = Limits(
            max_logprobs=config.model_config.max_logprobs,
            penalties_before_gate=config.use_v2_model_runner,
        )
        chat = state.openai_serving_chat
        tokenizer = engine_client.renderer.get_tokenizer()
        admission = Admission(
            checkpoint,
            tokenizer,
            limits,
            texts,
            chat.chat_template,
            chat.default_chat_template_kwargs,
        )
        parser_cls = answer_parser(args, tokenizer)
        # The engine has our reasoning parser, for grammars; text is parsed as without it.
        state.online_renderer.parser = parser_cls
        names = checkpoint.manifest.names
        metrics = Metrics(names)
        calibration = checkpoint.scores.get("first_token")
        state.openai_serving_chat = RefusalServingChat.taking_over(
            chat,
            checkpoint,
            admission,
            operator,
            Judge(engine_client, checkpoint.control),
            Annotations(names, content_filter=args.content_filter_results),
            metrics,
            Watch(names, calibration, metrics, args.score_sample),
            parser_cls,
            mirror_refusals=args.mirror_refusals,
        )
        self._tasks = [
            asyncio.create_task(task) for task in (announce(args, checkpoint), drain.prepare(state))
        ]
        logger.info("The gate is proved: one forced refusal per category and one forced answer")


def answer_parser(args: Namespace, tokenizer: TokenizerLike) -> type[Parser] | None:
    """The parser that vLLM chooses for the operator's own flags."""
    parser_cls: type[Parser] | None = ParserManager.get_parser(
        tool_parser_name=args.tool_call_parser,
        reasoning_parser_name=args.demur_reasoning_parser,
        enable_auto_tools=args.enable_auto_tool_choice,
        tool_strict_level=args.tool_strict_level,
        model_name=args.model,
        tokenizer=tokenizer,
    )
    return parser_cls
