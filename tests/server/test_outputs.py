import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from vllm.logprobs import Logprob
from vllm.outputs import CompletionOutput, RequestOutput

from server.outputs import CleanedOutputs
from server.turn import Turn
from steering.manifest import Scope
from steering.settings import Steering
from steering.tokens import ControlTokens

CONTROL = ControlTokens(respond=1, refuse=(2, 3))


def decode(ids: list[int], skip_special_tokens: bool = False) -> str:
    control = ("", "", "", "") if skip_special_tokens else ("", "<1>", "<2>", "<3>")
    return "".join(control[token] if token in CONTROL.ids else f"w{token}" for token in ids)


TOKENIZER: Any = SimpleNamespace(decode=decode)


def turn(
    control: ControlTokens = CONTROL,
    scope: Scope = "first_token",
    templates: tuple[str, ...] | None = None,
) -> Turn:
    return Turn(Steering((0.0, 0.0), None, None), control, scope, templates=templates)


def piece(index: int, text: str, token_ids: list[int], **fields: Any) -> CompletionOutput:
    return CompletionOutput(
        index=index,
        text=text,
        token_ids=token_ids,
        cumulative_logprob=None,
        logprobs=fields.pop("logprobs", None),
        **fields,
    )


async def engine(*pieces: CompletionOutput) -> AsyncIterator[RequestOutput]:
    """Each piece in an output of its own."""
    for item in pieces:
        yield RequestOutput("r", None, [7], None, [item], finished=False)


def cleaned(state: Turn, *pieces: CompletionOutput) -> list[CompletionOutput]:
    """What is left of `pieces`."""

    async def collect() -> list[CompletionOutput]:
        outputs = CleanedOutputs(engine(*pieces), state, TOKENIZER)
        return [output.outputs[0] async for output in outputs]

    return asyncio.run(collect())


def test_an_answer_loses_its_respond_token() -> None:
    state = turn()
    first, second = cleaned(state, piece(0, "", [1]), piece(0, "Hi", [40]))
    assert list(first.token_ids) == []
    assert (second.text, list(second.token_ids)) == ("Hi", [40])
    assert not state.choices[0].refused


def test_a_refusal_is_noted_with_its_category_and_text() -> None:
    state = turn()
    cleaned(state, piece(0, "I can't.", [3, 40, 41]))
    assert state.choices[0].refused
    assert state.choices[0].category == 1
    assert state.choices[0].refusal == "I can't."
    assert state.choices[0].position == 0


def test_choices_are_decided_apart() -> None:
    state = turn()
    state.count = 2
    pieces = cleaned(state, piece(1, "", [2, 40]), piece(0, "", [1]), piece(0, "x", [41]))
    assert [list(item.token_ids) for item in pieces] == [[40], [], [41]]
    assert state.choices[1].refused
    assert not state.choices[0].refused


class TestInTheMiddle:
    """A refusal behind the first position: what came before it stays content."""

    def test_text_is_divided_where_the_refuse_token_stood(self) -> None:
        state = turn(scope="every_token")
        last = cleaned(state, piece(0, "", [1]), piece(0, "w40w41No", [40, 41, 3, 42]))[-1]
        choice = state.choices[0]
        assert (choice.category, choice.position) == (1, 2)
        assert choice.refusal == "No"
        assert choice.latest == ("w40w41", "No")
        assert list(last.token_ids) == [40, 41, 42]

    def test_text_that_the_engine_held_back_is_still_content(self) -> None:
        state = turn(scope="every_token")
        cleaned(state, piece(0, "w40", [1, 40, 41]), piece(0, "", [2]))
        assert state.choices[0].latest == ("", "")
        cleaned(state, piece(0, "w41No", [42]))
        assert state.choices[0].latest == ("w41", "No")

    def test_special_tokens_are_kept_out_of_text_that_has_them(self) -> None:
        state = turn(scope="every_token")
        state.shows_special_tokens = True
        text = "<1>w40w41<3>No"
        pieces = [piece(0, text[:2], [1]), piece(0, text[2:9], [40, 41]), piece(0, "", [3])]
        shown = cleaned(state, *pieces, piece(0, text[9:], [42]))
        choice = state.choices[0]
        assert (choice.refusal, choice.position) == ("No", 2)
        assert "".join(item.text for item in shown) == "w40w41No"

    def test_a_client_is_told_again(self) -> None:
        state = turn(scope="every_token")
        cleaned(state, piece(0, "w40", [1, 40]))
        state.choices[0].announced = True
        assert not state.has_news()
        cleaned(state, piece(0, "", [2]))
        assert not state.choices[0].announced
        assert state.has_news()

    def test_only_the_first_refusal_counts(self) -> None:
        state = turn(scope="every_token")
        last = cleaned(state, piece(0, "No", [2, 40]), piece(0, "w41", [3, 41]))[-1]
        assert state.choices[0].category == 0
        assert list(last.token_ids) == [41]
        assert state.choices[0].refusal == "Now41"


class TestTemplates:
    """The engine has stopped at the refuse token: its output is the choice's last."""

    STOPPED: ClassVar[Any] = {"finish_reason": "stop", "stop_reason": 3}

    @pytest.fixture
    def state(self) -> Turn:
        return turn(scope="every_token", templates=("First.", "Second."))

    def test_are_what_a_refusal_says(self, state: Turn) -> None:
        (only,) = cleaned(state, piece(0, "", [3], **self.STOPPED))
        assert (only.text, list(only.token_ids)) == ("Second.", [])
        assert (only.finish_reason, only.stop_reason) == ("stop", None)
        choice = state.choices[0]
        assert (choice.refusal, choice.from_template) == ("Second.", True)

    def test_stand_behind_what_was_written_before(self, state: Turn) -> None:
        # A stop string was feared, and its beginning held back until the end.
        cleaned(state, piece(0, "w40", [1, 40, 41]))
        (last,) = cleaned(state, piece(0, "w41", [3], **self.STOPPED))
        choice = state.choices[0]
        assert choice.latest == ("w41", "Second.")
        assert (choice.refusal, choice.position) == ("Second.", 2)
        assert last.text == "w41Second."

    @pytest.mark.parametrize("text", ["w40", "w40<3>"], ids=["left out", "shown"])
    def test_hide_the_token_at_which_the_engine_stopped(self, state: Turn, text: str) -> None:
        state.shows_special_tokens = True
        cleaned(state, piece(0, "<1>", [1]), piece(0, text, [40, 3], **self.STOPPED))
        assert state.choices[0].latest == ("w40", "Second.")

    def test_leave_an_answer_alone(self, state: Turn) -> None:
        (only,) = cleaned(state, piece(0, "w40", [1, 40], finish_reason="stop", stop_reason="x"))
        assert (only.text, only.stop_reason) == ("w40", "x")
        assert not state.choices[0].from_template

    def test_are_each_choices_own(self, state: Turn) -> None:
        pieces = [piece(1, "", [2], **self.STOPPED), piece(0, "", [3], **self.STOPPED)]
        assert [item.text for item in cleaned(state, *pieces)] == ["First.", "Second."]


def test_without_a_respond_token_an_answer_loses_nothing() -> None:
    state = turn(ControlTokens(respond=None, refuse=(2, 3)))
    (only,) = cleaned(state, piece(0, "Hi", [40, 41]))
    assert list(only.token_ids) == [40, 41]
    assert not state.choices[0].refused


def test_a_choice_without_tokens_is_not_decided_yet() -> None:
    state = turn()
    cleaned(state, piece(0, "", []))
    assert state.choices == {}


@pytest.mark.parametrize(("first", "expected"), [(2, "stop"), (1, "length")])
def test_a_refusal_that_is_cut_off_still_finishes_with_stop(first: int, expected: str) -> None:
    (only,) = cleaned(turn(), piece(0, "I", [first, 40], finish_reason="length"))
    assert only.finish_reason == expected


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_other_reasons_pass(reason: str) -> None:
    (only,) = cleaned(turn(), piece(0, "I", [2, 40], finish_reason=reason))
    assert only.finish_reason == reason


def test_logprobs_stay_aligned_and_name_no_control_token() -> None:
    candidate = Logprob(-1.0)
    logprobs = [{1: candidate, 40: candidate}, {40: candidate, 2: candidate, 41: candidate}]
    (only,) = cleaned(turn(), piece(0, "Hi", [1, 40], logprobs=logprobs))
    assert list(only.token_ids) == [40]
    assert only.logprobs == [{40: candidate, 41: candidate}]


def test_the_engines_own_lists_are_left_alone() -> None:
    original = piece(0, "Hi", [1, 40], logprobs=[{1: Logprob(-1.0)}, {40: Logprob(-1.0)}])
    cleaned(turn(), original)
    assert list(original.token_ids) == [1, 40]
    assert original.logprobs is not None
    assert len(original.logprobs) == 2


def test_a_respond_token_that_shows_in_text_is_taken_out() -> None:
    state = turn()
    state.shows_special_tokens = True
    shown = cleaned(state, piece(0, "<1>", [1]), piece(0, "<tool>", [40]))
    assert [item.text for item in shown] == ["", "<tool>"]


class TestSettled:
    """Once all is decided and nothing to be hidden, outputs are passed on as they are."""

    def test_an_answer_is_behind_its_first_token(self) -> None:
        state = turn()
        cleaned(state, piece(0, "", []))
        assert not state.settled
        cleaned(state, piece(0, "", [1]))
        assert state.settled

    def test_all_choices_must_be_known(self) -> None:
        state = turn()
        state.count = 2
        cleaned(state, piece(0, "", [1]))
        assert not state.settled
        cleaned(state, piece(1, "", [1]))
        assert state.settled

    def test_a_refusal_is_that_begins_with_the_answer(self) -> None:
        state = turn()
        _, second = cleaned(state, piece(0, "", [2]), piece(0, "No", [40]))
        assert state.settled
        assert not state.is_answer
        assert (second.text, list(second.token_ids)) == ("No", [40])

    def test_outputs_are_the_engines_own_then(self) -> None:
        pieces = [piece(0, "", [1]), piece(0, "Hi", [40]), piece(0, "!", [41])]
        found = cleaned(turn(), *pieces)
        assert found[0] is not pieces[0]
        assert found[1] is pieces[1]
        assert found[2] is pieces[2]

    def test_an_answer_that_may_be_refused_later_is_not(self) -> None:
        state = turn(scope="every_token")
        cleaned(state, piece(0, "", [1]), piece(0, "Hi", [40]))
        assert not state.settled

    def test_nor_are_logprobs_which_name_control_tokens(self) -> None:
        state = turn()
        candidate = Logprob(-1.0)
        (_, only) = cleaned(
            state,
            piece(0, "", [1], logprobs=[{1: candidate}]),
            piece(0, "Hi", [40], logprobs=[{40: candidate, 2: candidate}]),
        )
        assert only.logprobs == [{40: candidate}]

    def test_nor_text_that_spells_control_tokens(self) -> None:
        state = turn()
        state.shows_special_tokens = True
        cleaned(state, piece(0, "", [1]))
        assert not state.settled


class TestPeeking:
    """The decision is known before vLLM asks for the first output."""

    def test_tells_the_decision_and_keeps_the_output(self) -> None:
        async def peek() -> None:
            state = turn()
            outputs = CleanedOutputs(
                engine(piece(0, "", [1]), piece(0, "Hi", [40])), state, TOKENIZER
            )
            await outputs.peek()
            assert state.is_answer
            assert [output.outputs[0].text async for output in outputs] == ["", "Hi"]

        asyncio.run(peek())

    def test_errors_are_raised_where_vllm_handles_them(self) -> None:
        async def broken() -> AsyncIterator[RequestOutput]:
            raise ValueError("the engine has died")
            yield

        async def peek() -> None:
            outputs = CleanedOutputs(broken(), turn(), TOKENIZER)
            await outputs.peek()
            with pytest.raises(ValueError, match="the engine has died"):
                await anext(outputs)

        asyncio.run(peek())

    def test_of_nothing_there_is_nothing(self) -> None:
        async def peek() -> None:
            outputs = CleanedOutputs(engine(), turn(), TOKENIZER)
            await outputs.peek()
            assert [output async for output in outputs] == []

        asyncio.run(peek())
