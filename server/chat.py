"""vLLM's chat handler with the refusal gate's decisions put into its responses."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Self

from fastapi import Request
from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionLogProbs,
    ChatCompletionResponse,
    ChatMessage,
)
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.outputs import RequestOutput
from vllm.parser.abstract_parser import Parser
from vllm.tokenizers import TokenizerLike

from server.admission import Admission
from server.checkpoint import Checkpoint
from server.operator_policy import LivePolicy
from server.parser import RefusalParser
from server.schema import ChatRequest, RefusalDetails, RefusalSettings
from server.turn import Choice, without_control_tokens

_DATA = "data: "


class RefusalServingChat(OpenAIServingChat):
    """Admits requests, hides control tokens, and turns refusals into `message.refusal`."""

    checkpoint: Checkpoint
    admission: Admission
    operator: LivePolicy
    mirror_refusals: bool
    """Whether a refusal's text stands in `content` too."""
    answer_parser_cls: type[Parser] | None
    """The parser for this model's tools and reasoning, as vLLM would have chosen it, if any."""

    @classmethod
    def taking_over(
        cls,
        handler: OpenAIServingChat,
        checkpoint: Checkpoint,
        admission: Admission,
        operator: LivePolicy,
        answer_parser_cls: type[Parser] | None,
        *,
        mirror_refusals: bool,
    ) -> Self:
        """The handler that vLLM has built from its command line, with our hooks.

        Its state is taken over whole, so that none of vLLM's twenty arguments is repeated here.
        """
        ours = cls.__new__(cls)
        ours.__dict__.update(handler.__dict__)
        ours.checkpoint = checkpoint
        ours.admission = admission
        ours.operator = operator
        ours.mirror_refusals = mirror_refusals
        ours.answer_parser_cls = answer_parser_cls
        # vLLM asks `_make_parser` for parsers only if it has a parser class at all.
        ours.parser_cls = answer_parser_cls or RefusalParser
        ours._include_reasoning_tokens_details = (
            answer_parser_cls is not None and answer_parser_cls.reasoning_parser_cls is not None
        )
        return ours

    async def create_chat_completion(  # type: ignore[override]
        self, request: ChatRequest, raw_request: Request | None = None
    ) -> AsyncGenerator[str, None] | ChatCompletionResponse | ErrorResponse:
        """Admit the request, then answer it as vLLM does.

        Raises VLLMValidationError (a 400) if the request is not admitted.
        """
        key = None if raw_request is None else raw_request.headers.get("Authorization")
        self.admission.admit(request, self.operator.current.of(key))
        return await super().create_chat_completion(request, raw_request)

    async def render_chat_request(self, request: ChatRequest) -> Any:  # type: ignore[override]
        """Render as vLLM does, and check the result as token ids."""
        rendered = await super().render_chat_request(request)
        if isinstance(rendered, ErrorResponse):
            return rendered
        for engine_input in rendered[1]:
            token_ids = self._extract_prompt_components(engine_input).token_ids
            self.admission.check_prompt(token_ids or [], request.chat_template_kwargs)
        return rendered

    def _make_parser(
        self,
        request: ChatRequest,  # type: ignore[override]
        tokenizer: TokenizerLike,
        chat_template_kwargs: dict[str, Any] | None,
    ) -> Parser:
        # A stream asks for its parsers in the order of the choices, behind one made up front.
        index = request.turn.next_parser()
        mirror = self.mirror_refusals
        if self.answer_parser_cls is None:
            return RefusalParser(None, request.turn, index, mirror=mirror)
        inner = self.answer_parser_cls(
            tokenizer,
            request.tools,  # type: ignore[arg-type]
            chat_template_kwargs=chat_template_kwargs,
            model_config=self.model_config,
        )
        return RefusalParser(inner, request.turn, index, mirror=mirror)

    async def chat_completion_full_generator(  # type: ignore[override]
        self,
        request: ChatRequest,
        result_generator: AsyncIterator[RequestOutput],
        *args: Any,
        **kwargs: Any,
    ) -> ErrorResponse | ChatCompletionResponse:
        """The whole response; a refused choice has its text in `message.refusal`."""
        turn = request.turn
        clean = without_control_tokens(result_generator, turn, self.renderer.get_tokenizer())
        response = await super().chat_completion_full_generator(request, clean, *args, **kwargs)
        if isinstance(response, ErrorResponse):
            return response
        for choice in response.choices:
            decided = turn.choices.get(choice.index, Choice())
            if decided.refused:
                content = decided.refusal if self.mirror_refusals else None
                choice.message = ChatMessage(
                    role=choice.message.role, content=content, refusal=decided.refusal
                )
                choice.finish_reason = "stop"
                if choice.logprobs is not None:
                    choice.logprobs = _of_refusal(choice.logprobs, decided.position)
            choice.refusal_details = self._details(decided)  # type: ignore[attr-defined]
        response.refusal_settings = self._settings(request)  # type: ignore[attr-defined]
        return response

    async def chat_completion_stream_generator(  # type: ignore[override]
        self,
        request: ChatRequest,
        result_generator: AsyncIterator[RequestOutput],
        *args: Any,
        **kwargs: Any,
    ) -> AsyncGenerator[str, None]:
        """Server-sent events; a refused choice streams `delta.refusal`.

        Only opening chunks and those of refusals are taken apart, to add what was decided.
        """
        turn = request.turn
        turn.restart_parsers()
        clean = without_control_tokens(result_generator, turn, self.renderer.get_tokenizer())
        openings = request.n or 1
        async for event in super().chat_completion_stream_generator(
            request, clean, *args, **kwargs
        ):
            if openings or turn.unannounced() or turn.any_refused():
                event, opened = self._with_decisions(event, request, first=openings == request.n)
                openings -= opened
            yield event

    def _with_decisions(self, event: str, request: ChatRequest, *, first: bool) -> tuple[str, int]:
        """One event with what is still to be told, and how many choices it opens."""
        if not event.startswith(_DATA + "{"):
            return event, 0
        chunk = json.loads(event.removeprefix(_DATA))
        opened = 0
        for choice in chunk.get("choices", []):
            decided = request.turn.choices.get(choice["index"])
            if "role" in choice["delta"]:
                opened += 1
                if decided is not None and decided.refused:
                    content = "" if self.mirror_refusals else None
                    choice["delta"] |= {"content": content, "refusal": ""}
                continue
            if decided is not None and not decided.announced:
                decided.announced = True
                choice["refusal_details"] = self._details(decided)
            if decided is not None and decided.refused:
                _as_refusal(choice)
        if first and opened:
            chunk["refusal_settings"] = self._settings(request)
        return f"{_DATA}{json.dumps(chunk, ensure_ascii=False)}\n\n", opened

    def _details(self, choice: Choice) -> dict[str, Any]:
        names = self.checkpoint.manifest.names
        return RefusalDetails(
            refused=choice.refused,
            category=None if choice.category is None else names[choice.category],
            position=choice.position if choice.refused else None,
        ).model_dump()

    def _settings(self, request: ChatRequest) -> dict[str, Any]:
        names = self.checkpoint.manifest.names
        return RefusalSettings.of(
            request.settings, request.turn.steering, names, request.turn.scope
        ).model_dump()


def _of_refusal(logprobs: ChatCompletionLogProbs, position: int) -> ChatCompletionLogProbs:
    """OpenAI's place for the logprobs of a refusal's tokens, which begins at `position`."""
    content = logprobs.content or []
    return ChatCompletionLogProbs.model_validate({"content": None, "refusal": content[position:]})


def _as_refusal(choice: dict[str, Any]) -> None:
    """Finish a streamed choice as a refusal does, and put its logprobs in OpenAI's place."""
    if choice.get("finish_reason") is not None:
        choice["finish_reason"] = "stop"
    logprobs = choice.get("logprobs")
    if logprobs is not None and "content" not in choice["delta"]:
        choice["logprobs"] = {"content": None, "refusal": logprobs["content"]}
