"""A reasoning parser for vLLM's engine: output before the respond token is not grammar's business.

Structured outputs and forced tools mask every token that their grammar does not allow. vLLM lets a
grammar start behind a model's reasoning; counting the control token as reasoning keeps the first
position free for the gate. A refusal then never meets the grammar; an answer does, behind the
respond token, or, for a model that reasons, behind its reasoning. (vLLM 0.32)

vLLM imports this module in every process that parses or constrains output, since the launcher names
it in `--reasoning-parser-plugin`. What it must know there travels in the environment: vLLM gives a
reasoning parser no configuration.
"""

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from vllm.reasoning import ReasoningParser, ReasoningParserManager
from vllm.tokenizers import TokenizerLike

NAME = "demur"
"""Of the parser, in vLLM's `--reasoning-parser`."""
PLUGIN = "server.reasoning"
ENVIRONMENT = "DEMUR_REASONING"
RAY_COPIES = "VLLM_RAY_EXTRA_ENV_VARS_TO_COPY"
"""Names of variables that vLLM (0.32) gives its workers under Ray."""


def configure(respond: int, inner: str | None, inner_plugin: str | None) -> None:
    """Set up this process and its children.

    respond: id of the respond token; inner: the parser that the operator asked for, to compose
    with; inner_plugin: where that one is to be found, if it is not one of vLLM's own.
    """
    os.environ[ENVIRONMENT] = json.dumps([respond, inner, inner_plugin])
    copied = os.environ.get(RAY_COPIES, "")
    os.environ[RAY_COPIES] = ",".join(name for name in (copied, ENVIRONMENT) if name)
    _register()


class AfterRespond(ReasoningParser):
    """Says when an answer's own output begins. It only decides for grammars, and parses nothing."""

    respond: int
    inner_cls: type[ReasoningParser] | None = None

    def __init__(self, tokenizer: TokenizerLike, *args: Any, **kwargs: Any) -> None:
        super().__init__(tokenizer, *args, **kwargs)
        self._inner = None if self.inner_cls is None else self.inner_cls(tokenizer, *args, **kwargs)

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        """Whether the answer's own output has begun in `input_ids`, prompt and output so far."""
        return self._has_ended(list(input_ids))

    def is_reasoning_end_streaming(
        self, input_ids: Sequence[int], delta_ids: Iterable[int]
    ) -> bool:
        """The same, where `delta_ids` are the newest of `input_ids`."""
        if self._inner is None:
            return self.respond in delta_ids
        return self._has_ended(list(input_ids))

    def _has_ended(self, input_ids: list[int]) -> bool:
        if self.respond not in input_ids:
            return False
        if self._inner is None:
            return True
        # No prompt holds the respond token, so its first occurrence divides prompt and answer.
        at = input_ids.index(self.respond)
        prompt, answer = input_ids[:at], input_ids[at + 1 :]
        return self._inner.is_reasoning_end(prompt) or self._inner.is_reasoning_end(answer)

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        """Tokens behind the respond token."""
        if self.respond not in input_ids:
            return []
        return input_ids[input_ids.index(self.respond) + 1 :]

    def extract_reasoning(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        """All is content here: the front end parses with vLLM's own parser."""
        del request
        return None, model_output

    def extract_reasoning_streaming(self, *_: Any, **__: Any) -> None:
        """Nothing: the front end parses with vLLM's own parser."""


def _register() -> None:
    respond, inner, inner_plugin = json.loads(os.environ[ENVIRONMENT])
    if inner_plugin:
        ReasoningParserManager.import_reasoning_parser(inner_plugin)
    fields: dict[str, Any] = {"respond": respond}
    if inner:
        fields["inner_cls"] = ReasoningParserManager.get_reasoning_parser(inner)
    parser_cls = type("ConfiguredAfterRespond", (AfterRespond,), fields)
    ReasoningParserManager.register_module(NAME, force=True, module=parser_cls)


if ENVIRONMENT in os.environ:
    _register()
