import math

from server.judge import Judgement
from server.turn import Choice, Turn
from steering.settings import Steering
from steering.tokens import ControlTokens

CONTROL = ControlTokens(respond=1, refuse=(2, 3))


def turn() -> Turn:
    return Turn(Steering((0.0, 0.0), None, None), CONTROL)


def test_parsers_are_counted_from_zero_again() -> None:
    state = turn()
    assert state.next_parser() == 0
    state.restart_parsers()
    assert [state.next_parser(), state.next_parser()] == [0, 1]


def test_a_client_is_told_of_an_answer_once() -> None:
    state = turn()
    assert not state.has_news()
    state.choices[0] = Choice()
    assert state.has_news()
    state.choices[0].announced = True
    assert not state.has_news()


def test_a_piece_of_a_refusal_is_changed_where_vllm_would_write_otherwise() -> None:
    state = turn()
    choice = state.choices[0] = Choice(category=1, announced=True)
    assert not state.has_news()
    choice.has_logprobs = True
    assert state.has_news()
    choice.has_logprobs, choice.ends = False, True
    assert state.has_news()


def test_the_gate_carries_out_what_was_decided_ahead() -> None:
    state = turn()
    assert state.thresholds == (0.0, 0.0)
    state.ahead = Judgement(1, None)
    assert state.thresholds == (math.inf, -math.inf)
    state.ahead = Judgement(None, None)
    assert state.thresholds == (math.inf, math.inf)
