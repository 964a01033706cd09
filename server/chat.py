"""vLLM's chat handler with the refusal gate's decisions put into its responses."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Self

from fastapi import Request
from pydantic_core import from_json, to_json
from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionLogProbs,
    ChatCompletionResponse,
    ChatCompletionResponseChoice,
    ChatMessage,
)
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.serve.engine.protocol import ErrorResponse, UsageInfo
from vllm.exceptions import VLLMValidationError
from vllm.outputs import RequestOutput
from vllm.parser.abstract_parser import Parser
from vllm.tokenizers import TokenizerLike

from server import request_log, traces
from server.admission import Admission
from server.annotations import Annotations
from server.checkpoint import Checkpoint
from server.judge import Asked, Judge, Judgement
from server.metrics import Metrics
from server.operator_policy import LivePolicy, authorization
from server.outputs import CleanedOutputs
from server.parser import RefusalParser
from server.schema import ChatRequest
from server.solving import solve_ahead
from server.turn import Choice, Turn
from server.watch import Watch

_DATA = "data: "


class RefusalServingChat(OpenAIServingChat):
    """Admits requests, hides control tokens, and turns refusals into `message.refusal`."""

    checkpoint: Checkpoint
    admission: Admission
    operator: LivePolicy
    judge: Judge
    annotations: Annotations
    metrics: Metrics
    watch: Watch
    mirror_refusals: bool
    """Whether a refusal's text stands in `content` too."""
    answer_parser_cls: type[Parser] | None
    """The parser for this model's tools and reasoning, as vLLM would have chosen it, if any."""
    stock: OpenAIServingChat
    """vLLM's own handler, with that parser."""

    @classmethod
    def taking_over(
        cls,
        handler: OpenAIServingChat,
        checkpoint: Checkpoint,
        admission: Admission,
        operator: LivePolicy,
        judge: Judge,
        annotations: Annotations,
        metrics: Metrics,
        watch: Watch,
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
        ours.judge = judge
        ours.annotations = annotations
        ours.metrics = metrics
        ours.watch = watch
        ours.mirror_refusals = mirror_refusals
        ours.answer_parser_cls = answer_parser_cls
        ours.stock = handler
        handler.parser_cls = answer_parser_cls
        # vLLM asks `_make_parser` for parsers only if it has a parser class at all.
        ours.parser_cls = answer_parser_cls or RefusalParser
        ours._include_reasoning_tokens_details = (
            answer_parser_cls is not None and answer_parser_cls.reasoning_parser_cls is not None
        )
        handler._include_reasoning_tokens_details = ours._include_reasoning_tokens_details
        return ours

    async def create_chat_completion(  # type: ignore[override]
        self, request: ChatRequest, raw_request: Request | None = None
    ) -> AsyncGenerator[str, None] | ChatCompletionResponse | ErrorResponse:
        """Admit the request, then answer it as vLLM does.

        Raises VLLMValidationError (a 400) if the request is not admitted.
        """
        request_log.note(raw_request, request)
        await self.admit(request, raw_request)
        if request.dry_run:
            return await self._dry_run(request)
        if await self.engine_client.is_tracing_enabled():
            request.turn.trace = traces.begin(raw_request)
        return await super().create_chat_completion(request, raw_request)

    async def admit(self, request: ChatRequest, raw_request: Request | None) -> None:
        """Check a request under its client's policy; raises VLLMValidationError."""
        policy = self.operator.current.of(authorization(raw_request))
        await solve_ahead(policy, request.settings, request.refusal_scope)
        with self._counting():
            self.admission.admit(request, policy)

    async def judge_request(self, request: ChatRequest) -> Judgement | ErrorResponse:
        """What the gate would decide at the first position of an admitted request's answer."""
        rendered = await self._rendered(request)
        if isinstance(rendered, ErrorResponse):
            return rendered
        return await self._judge(request, rendered)

    async def render_chat_request(self, request: ChatRequest) -> Any:  # type: ignore[override]
        """Render as vLLM does, and check the result as token ids.

        The engine is asked for scores if the client or the watch wants them, and for the decision
        if a grammar is in its way.
        """
        rendered = await self._rendered(request)
        if isinstance(rendered, ErrorResponse):
            return rendered
        turn, drawn = request.turn, self.watch.draw()
        ahead = request.is_decided_ahead
        if request.refusal_scores or ahead:
            judgement = await self._judge(request, rendered)
            turn.log_odds = judgement.log_odds
            turn.ahead = judgement if ahead else None
            if drawn and request.refusal_scores:
                self.watch.look(judgement, turn)
        if drawn and not request.refusal_scores:
            self.watch.look(self._judge(request, rendered, scores=True), turn)
        return rendered

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Count what is turned down."""
        try:
            yield
        except VLLMValidationError as error:
            self.metrics.rejected(error.parameter)
            raise

    async def _rendered(self, request: ChatRequest) -> Any:
        kwargs = self._effective_chat_template_kwargs(request)
        with self._counting():
            rendered = await super().render_chat_request(request)
            if isinstance(rendered, ErrorResponse):
                return rendered
            for engine_input in rendered[1]:
                token_ids = self._extract_prompt_components(engine_input).token_ids
                self.admission.check_prompt(token_ids or [], kwargs)
            self.admission.check_tools(request)
        return rendered

    def model_name(self, request: ChatRequest) -> str:
        """What answers call the model that was asked for."""
        lora_request = self._maybe_get_adapters(request, supports_default_mm_loras=True)
        return self.models.model_name(lora_request)

    async def _judge(
        self, request: ChatRequest, rendered: Any, *, scores: bool | None = None
    ) -> Judgement:
        (engine_input,) = rendered[1]
        lora_request = self._maybe_get_adapters(request, supports_default_mm_loras=True)
        return await self.judge.judge(
            Asked(engine_input, lora_request, request.priority),
            request.turn.steering.thresholds,
            scores=request.refusal_scores if scores is None else scores,
        )

    async def _dry_run(self, request: ChatRequest) -> ChatCompletionResponse | ErrorResponse:
        """What would be decided, as a response without an answer."""
        rendered = await self._rendered(request)
        if isinstance(rendered, ErrorResponse):
            return rendered
        judgement = await self._judge(request, rendered)
        turn = request.turn
        turn.log_odds = judgement.log_odds
        turn.choices = {
            index: Choice(category=judgement.category) for index in range(request.n or 1)
        }
        choices = []
        for index, decided in turn.choices.items():
            choice = ChatCompletionResponseChoice(
                index=index, message=ChatMessage(role=self.response_role), finish_reason="stop"
            )
            self._annotate(choice, decided, turn)
            choices.append(choice)
        prompt = self._extract_prompt_len(rendered[1][0])
        response = ChatCompletionResponse(
            model=self.model_name(request),
            choices=choices,
            usage=UsageInfo(prompt_tokens=prompt, completion_tokens=0, total_tokens=prompt),
        )
        return self._finished(response, request)

    def _make_parser(
        self,
        request: ChatRequest,  # type: ignore[override]
        tokenizer: TokenizerLike,
        chat_template_kwargs: dict[str, Any] | None,
    ) -> Parser:
        # A stream asks for its parsers in the order of the choices, behind one made up front.
        turn, mirror = request.turn, self.mirror_refusals
        index = turn.next_parser()
        if self.answer_parser_cls is None:
            return RefusalParser(None, turn, index, mirror=mirror)
        inner = self.answer_parser_cls(
            tokenizer,
            request.tools,  # type: ignore[arg-type]
            chat_template_kwargs=chat_template_kwargs,
            model_config=self.model_config,
        )
        return RefusalParser(inner, turn, index, mirror=mirror)

    async def chat_completion_full_generator(  # type: ignore[override]
        self,
        request: ChatRequest,
        result_generator: AsyncIterator[RequestOutput],
        *args: Any,
        **kwargs: Any,
    ) -> ErrorResponse | ChatCompletionResponse:
        """The whole response; a refused choice has its text in `message.refusal`."""
        turn = request.turn
        outputs = self._clean(result_generator, turn)
        with self._deciding(turn):
            response = await super().chat_completion_full_generator(
                request, outputs, *args, **kwargs
            )
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
            self._annotate(choice, decided, turn)
        return self._finished(response, request)

    async def chat_completion_stream_generator(  # type: ignore[override]
        self,
        request: ChatRequest,
        result_generator: AsyncIterator[RequestOutput],
        *args: Any,
        **kwargs: Any,
    ) -> AsyncGenerator[str, None]:
        """Server-sent events; a refused choice streams `delta.refusal`.

        What is an answer from its first token on goes through vLLM's own handler. Only those events
        are taken apart that need something of the decision put in.
        """
        turn = request.turn
        turn.restart_parsers()
        outputs = self._clean(result_generator, turn)
        with self._deciding(turn):
            await outputs.peek()
            stream = super().chat_completion_stream_generator
            if turn.is_answer:
                stream = self.stock.chat_completion_stream_generator
            openings, all_told = turn.count, False
            async for event in stream(request, outputs, *args, **kwargs):
                if not all_told and (openings or turn.has_news()):
                    first = openings == turn.count
                    event, opened = self._with_decisions(event, request, first=first)
                    openings -= opened
                    all_told = turn.is_answer and not (openings or turn.has_news())
                yield event

    def _clean(self, outputs: AsyncIterator[RequestOutput], turn: Turn) -> CleanedOutputs:
        return CleanedOutputs(outputs, turn, self.renderer.get_tokenizer())

    @contextmanager
    def _deciding(self, turn: Turn) -> Iterator[None]:
        """Count the decisions at the end, however it ends."""
        try:
            yield
        finally:
            self.metrics.decided(turn.choices, turn.scope)
            if turn.trace is not None:
                traces.end(turn.trace, turn, self.annotations.names)

    def _with_decisions(self, event: str, request: ChatRequest, *, first: bool) -> tuple[str, int]:
        """One event with what is still to be told, and how many choices it opens."""
        if not event.startswith(_DATA + "{"):
            return event, 0
        chunk = from_json(event.removeprefix(_DATA))
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
                choice |= self.annotations.of_choice(decided, request.turn)
            if decided is not None and decided.refused:
                _as_refusal(choice)
        if first and opened:
            chunk["refusal_settings"] = self.annotations.of_request(request)
        return f"{_DATA}{to_json(chunk).decode()}\n\n", opened

    def _annotate(self, choice: ChatCompletionResponseChoice, decided: Choice, turn: Turn) -> None:
        for field, value in self.annotations.of_choice(decided, turn).items():
            setattr(choice, field, value)

    def _finished(
        self, response: ChatCompletionResponse, request: ChatRequest
    ) -> ChatCompletionResponse:
        settings = self.annotations.of_request(request).model_dump()
        response.refusal_settings = settings  # type: ignore[attr-defined]
        return response


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
