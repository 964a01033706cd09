"""A parser for vLLM's streaming chat handler that knows a refusal from an answer."""

from collections.abc import Sequence
from typing import Any

from vllm.entrypoints.generate.base.protocol import DeltaMessage, FunctionCall
from vllm.parser.abstract_parser import Parser
from vllm.reasoning import ReasoningParser
from vllm.tool_parsers.abstract_tool_parser import ToolParser

from server.schema import RefusalDelta
from server.turn import Turn


class RefusalParser(Parser):
    """Streams a refused choice as `delta.refusal`; leaves an answer to vLLM's own parser."""

    def __init__(
        self, inner: Parser | None, turn: Turn, index: int, *, mirror: bool = False
    ) -> None:
        self._inner = inner
        self._turn = turn
        self._index = index
        self._mirror = mirror

    @property
    def reasoning_parser(self) -> ReasoningParser | None:
        """The reasoning parser of the parser inside."""
        return None if self._inner is None else self._inner.reasoning_parser

    @property
    def tool_parser(self) -> ToolParser | None:
        """The tool parser of the parser inside."""
        return None if self._inner is None else self._inner.tool_parser

    def adjust_request(self, request: Any) -> Any:
        """As the parser inside does."""
        return request if self._inner is None else self._inner.adjust_request(request)

    def set_prompt_token_ids(self, prompt_token_ids: Sequence[int]) -> None:
        """As the parser inside does."""
        if self._inner is not None:
            self._inner.set_prompt_token_ids(prompt_token_ids)

    def is_reasoning_end(self, input_ids: list[int]) -> bool:
        """As the parser inside says; False without one, as vLLM's own."""
        return self._inner is not None and self._inner.is_reasoning_end(input_ids)

    def parse(
        self,
        model_output: str,
        request: Any,
        enable_auto_tools: bool = False,
        model_output_token_ids: Sequence[int] = (),
    ) -> tuple[str | None, str | None, list[FunctionCall] | None]:
        """Reasoning, content and tool calls of an answer. Refusals do not pass here."""
        if self._inner is None:
            return None, model_output, []
        return self._inner.parse(model_output, request, enable_auto_tools, model_output_token_ids)

    def parse_delta(
        self,
        delta_text: str,
        delta_token_ids: list[int],
        request: Any,
        prompt_token_ids: list[int] | None = None,
        *,
        finished: bool,
    ) -> DeltaMessage | None:
        """One streamed piece of the choice; content may come first where a refusal begins."""
        choice = self._turn.choices.get(self._index)
        if choice is None or not choice.refused:
            return self._answer(delta_text, delta_token_ids, request, prompt_token_ids, finished)
        choice.ends = finished
        answer = choice.latest[0]
        refusal = delta_text[len(answer) :]
        parts: dict[str, Any] = {}
        if answer:
            message = self._answer(answer, delta_token_ids, request, prompt_token_ids, finished)
            parts = {} if message is None else message.model_dump(exclude_unset=True)
        if self._mirror:
            parts["content"] = (parts.get("content") or "") + refusal
        return RefusalDelta(**parts, refusal=refusal)

    def _answer(
        self,
        text: str,
        token_ids: list[int],
        request: Any,
        prompt_token_ids: list[int] | None,
        finished: bool,
    ) -> DeltaMessage | None:
        if self._inner is None:
            return DeltaMessage(content=text)
        return self._inner.parse_delta(
            text, token_ids, request, prompt_token_ids, finished=finished
        )

    def count_reasoning_tokens(self, token_ids: Sequence[int]) -> int:
        """As the parser inside counts."""
        return 0 if self._inner is None else self._inner.count_reasoning_tokens(token_ids)
