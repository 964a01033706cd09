"""When a grammar may start: behind the respond token, and behind a model's own reasoning."""

from collections.abc import Sequence
from typing import Any

import pytest
from vllm.reasoning import ReasoningParser, ReasoningParserManager

from server import reasoning
from server.reasoning import AfterRespond

RESPOND, THINK, THOUGHT = 1, 90, 91


class Thinking(ReasoningParser):
    """Stands for a parser of vLLM's: reasoning ends with the token THOUGHT."""

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        return THOUGHT in input_ids

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        return input_ids

    def extract_reasoning(self, *_: Any) -> tuple[None, str]:
        raise AssertionError("not asked for")

    def extract_reasoning_streaming(self, *_: Any) -> None:
        raise AssertionError("not asked for")


def parser(inner: type[ReasoningParser] | None = None) -> AfterRespond:
    class Configured(AfterRespond):
        respond = RESPOND
        inner_cls = inner

    tokenizer: Any = None
    return Configured(tokenizer)


def test_not_before_the_respond_token() -> None:
    assert not parser().is_reasoning_end([7, 8])
    assert not parser().is_reasoning_end_streaming([7, 8, 2, 40], [40])


def test_behind_the_respond_token() -> None:
    assert parser().is_reasoning_end([7, 8, RESPOND])
    assert parser().is_reasoning_end_streaming([7, 8, RESPOND], [RESPOND])
    assert parser().extract_content_ids([7, 8, RESPOND, 40]) == [40]


def test_never_in_a_refusal() -> None:
    refusal = [7, 8, 2, 40, 41]
    assert not any(
        parser().is_reasoning_end_streaming(refusal[:end], refusal[end - 1 : end])
        for end in range(1, len(refusal) + 1)
    )
    assert parser().extract_content_ids(refusal) == []


class TestWithReasoning:
    def ended(self, ids: list[int]) -> bool:
        return parser(Thinking).is_reasoning_end_streaming(ids, ids[-1:])

    def test_behind_both(self) -> None:
        assert not self.ended([7, 8, RESPOND])
        assert not self.ended([7, 8, RESPOND, THINK, 40])
        assert self.ended([7, 8, RESPOND, THINK, 40, THOUGHT])

    def test_at_once_where_the_prompt_has_ended_it(self) -> None:
        assert not self.ended([7, THINK, THOUGHT])
        assert self.ended([7, THINK, THOUGHT, RESPOND])


class TestRegistration:
    @pytest.fixture(autouse=True)
    def same_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(reasoning.ENVIRONMENT, "")

    def test_vllm_finds_the_configured_parser(self) -> None:
        ReasoningParserManager.register_module("thinking", module=Thinking)
        reasoning.configure(RESPOND, "thinking", None)
        found: Any = ReasoningParserManager.get_reasoning_parser(reasoning.NAME)
        assert issubclass(found, AfterRespond)
        assert found.respond == RESPOND
        assert found.inner_cls is Thinking

    def test_an_unknown_parser_is_an_error(self) -> None:
        with pytest.raises(KeyError, match="nobody"):
            reasoning.configure(RESPOND, "nobody", None)
