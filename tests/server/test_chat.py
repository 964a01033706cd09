"""What the chat handler adds to vLLM's own events. tests/e2e/ runs the whole handler."""

import json
from typing import Any

from vllm.entrypoints.generate.base.protocol import DeltaMessage

from server.annotations import Annotations
from server.chat import RefusalServingChat
from server.checkpoint import Checkpoint
from server.parser import RefusalParser
from server.schema import ChatRequest
from server.turn import Choice, Turn
from steering.settings import Settings


class InnerParser:
    """Stands for a parser of vLLM's: takes all text for reasoning."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def parse_delta(self, text: str, *_: Any, **__: Any) -> DeltaMessage:
        self.seen.append(text)
        return DeltaMessage(reasoning=text)


def handler(checkpoint: Checkpoint, *, mirror: bool = False) -> RefusalServingChat:
    ours = RefusalServingChat.__new__(RefusalServingChat)
    ours.checkpoint = checkpoint
    ours.answer_parser_cls = None
    ours.mirror_refusals = mirror
    ours.annotations = Annotations(checkpoint.manifest.names)
    return ours


def request(checkpoint: Checkpoint, **choices: Choice) -> ChatRequest:
    fields = {"messages": [{"role": "user", "content": "hello"}], "refusal_rates": 0.5}
    accepted = ChatRequest.model_validate(fields)
    turn = Turn(checkpoint.policy.resolve(Settings(rates=0.5)), checkpoint.control)
    turn.choices = {int(name.removeprefix("c")): choice for name, choice in choices.items()}
    accepted.begin(turn)
    return accepted


def event(index: int, **delta: Any) -> str:
    chunk = {"choices": [{"index": index, "delta": delta, "finish_reason": None}]}
    return f"data: {json.dumps(chunk)}\n\n"


def told(
    checkpoint: Checkpoint, accepted: ChatRequest, text: str, *, first: bool = False
) -> tuple[dict[str, Any], int]:
    rewritten, opened = handler(checkpoint)._with_decisions(text, accepted, first=first)
    assert rewritten.endswith("\n\n")
    return json.loads(rewritten.removeprefix("data: ")), opened


def test_the_first_event_echoes_the_settings(checkpoint: Checkpoint) -> None:
    accepted = request(checkpoint)
    opening = event(0, role="assistant", content="")
    chunk, opened = told(checkpoint, accepted, opening, first=True)
    assert opened == 1
    assert chunk["refusal_settings"]["requested_rates"] == 0.5
    assert chunk["refusal_settings"]["effective_rates"] == {"safety": 0.5, "temporal": 0.5}
    chunk, _ = told(checkpoint, accepted, opening, first=False)
    assert "refusal_settings" not in chunk


def test_a_refused_choice_opens_without_content(checkpoint: Checkpoint) -> None:
    accepted = request(checkpoint, c0=Choice(category=1))
    chunk, _ = told(checkpoint, accepted, event(0, role="assistant", content=""))
    assert chunk["choices"][0]["delta"] == {"role": "assistant", "content": None, "refusal": ""}


def test_a_mirrored_refusal_opens_with_content(checkpoint: Checkpoint) -> None:
    accepted = request(checkpoint, c0=Choice(category=1))
    opening = event(0, role="assistant", content="")
    rewritten, _ = handler(checkpoint, mirror=True)._with_decisions(opening, accepted, first=False)
    delta = json.loads(rewritten.removeprefix("data: "))["choices"][0]["delta"]
    assert delta == {"role": "assistant", "content": "", "refusal": ""}


def test_each_choice_is_announced_in_its_first_piece(checkpoint: Checkpoint) -> None:
    accepted = request(checkpoint, c0=Choice(category=1), c1=Choice(category=None))
    chunk, _ = told(checkpoint, accepted, event(0, refusal="I"))
    assert chunk["choices"][0]["refusal_details"] == {
        "refused": True,
        "category": "temporal",
        "position": 0,
    }
    assert not accepted.turn.choices[1].announced
    chunk, _ = told(checkpoint, accepted, event(1, content="Hi"))
    assert chunk["choices"][0]["refusal_details"] == {
        "refused": False,
        "category": None,
        "position": None,
    }
    assert accepted.turn.choices[1].announced
    chunk, _ = told(checkpoint, accepted, event(0, refusal=" can"))
    assert "refusal_details" not in chunk["choices"][0]


def test_a_template_is_told_from_the_models_own_words(checkpoint: Checkpoint) -> None:
    refused = Choice(category=1)
    refused.say("I have no news.")
    chunk, _ = told(checkpoint, request(checkpoint, c0=refused), event(0, refusal="I have"))
    details = {"refused": True, "category": "temporal", "position": 0, "text": "template"}
    assert chunk["choices"][0]["refusal_details"] == details


def test_events_without_choices_pass(checkpoint: Checkpoint) -> None:
    ours = handler(checkpoint)
    for text in ("data: [DONE]\n\n", ": keep-alive\n\n"):
        assert ours._with_decisions(text, request(checkpoint), first=False) == (text, 0)


def test_a_refusal_finishes_with_stop_and_has_its_logprobs_in_place(
    checkpoint: Checkpoint,
) -> None:
    accepted = request(checkpoint, c0=Choice(category=1, announced=True))
    chunk = {"index": 0, "delta": {"refusal": "No"}, "finish_reason": "tool_calls"}
    text = f"data: {json.dumps({'choices': [chunk | {'logprobs': {'content': [1]}}]})}\n\n"
    choice = told(checkpoint, accepted, text)[0]["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["logprobs"] == {"content": None, "refusal": [1]}


class TestParser:
    def piece(self, choice: Choice, text: str, checkpoint: Checkpoint, inner: Any = None) -> Any:
        choice.add(text)
        turn = request(checkpoint, c0=choice).turn
        message = RefusalParser(inner, turn, 0).parse_delta(text, [40], None, finished=False)
        assert message is not None
        return message.model_dump(exclude_unset=True)

    def test_streams_an_answer_as_content(self, checkpoint: Checkpoint) -> None:
        assert self.piece(Choice(), "Yes", checkpoint) == {"content": "Yes"}

    def test_streams_a_refusal_apart_from_content(self, checkpoint: Checkpoint) -> None:
        assert self.piece(Choice(category=0), "No", checkpoint) == {"refusal": "No"}

    def test_streams_both_where_a_refusal_begins(self, checkpoint: Checkpoint) -> None:
        choice = Choice()
        choice.refuse(0, boundary=len("Yes, "), position=2)
        both = {"content": "Yes, ", "refusal": "No"}
        assert self.piece(choice, "Yes, No", checkpoint) == both

    def test_may_mirror_refusals_for_clients_that_drop_them(self, checkpoint: Checkpoint) -> None:
        choice = Choice()
        choice.refuse(0, boundary=len("Yes, "), position=2)
        choice.add("Yes, No")
        parser = RefusalParser(None, request(checkpoint, c0=choice).turn, 0, mirror=True)
        message = parser.parse_delta("Yes, No", [40], None, finished=False)
        assert message is not None
        assert message.model_dump(exclude_unset=True) == {"content": "Yes, No", "refusal": "No"}

    def test_gives_the_parser_inside_no_word_of_a_refusal(self, checkpoint: Checkpoint) -> None:
        inner = InnerParser()
        assert self.piece(Choice(category=0), "No", checkpoint, inner) == {"refusal": "No"}
        assert inner.seen == []
        choice = Choice()
        choice.refuse(0, boundary=len("Yes, "), position=2)
        both = {"reasoning": "Yes, ", "refusal": "No"}
        assert self.piece(choice, "Yes, No", checkpoint, inner) == both
        assert inner.seen == ["Yes, "]

    def test_without_one_inside_passes_an_answer_through(self, checkpoint: Checkpoint) -> None:
        parser = RefusalParser(None, request(checkpoint).turn, 0)
        assert parser.parse("Hi", None) == (None, "Hi", [])
        assert parser.reasoning_parser is None
        assert parser.tool_parser is None
        assert parser.adjust_request("as it is") == "as it is"
        assert parser.count_reasoning_tokens([1]) == 0
        assert not parser.is_reasoning_end([1])

    def test_is_made_for_the_choices_in_order(self, checkpoint: Checkpoint) -> None:
        accepted = request(checkpoint)
        tokenizer: Any = None
        made = [handler(checkpoint)._make_parser(accepted, tokenizer, None) for _ in range(3)]
        assert [parser._index for parser in made if isinstance(parser, RefusalParser)] == [0, 1, 2]
