import math
from argparse import Namespace
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError
from vllm.exceptions import VLLMValidationError

from server.judge import Judgement
from server.schema import ChatRequest, RefusalSettings
from server.turn import Turn
from steering.settings import Settings, Steering
from steering.tokens import ControlTokens
from steering.wire import RowSettings

CONTROL = ControlTokens(respond=1, refuse=(2, 3))
STEERING = Steering((0.5, math.inf), {"safety": 0.9, "temporal": 0.0}, 0.1)
HELLO = {"role": "user", "content": "hello"}


def request(**fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"messages": [HELLO]} | fields)


def admitted(**fields: Any) -> ChatRequest:
    accepted = request(**fields)
    accepted.begin(Turn(STEERING, CONTROL))
    return accepted


def frozen(**fields: Any) -> ChatRequest:
    """Admitted by a checkpoint without a respond token."""
    accepted = request(**fields)
    accepted.begin(Turn(STEERING, ControlTokens(respond=None, refuse=CONTROL.refuse)))
    return accepted


class TestSettings:
    def test_a_request_may_carry_none(self) -> None:
        assert request().settings == Settings(rates=None, thresholds=None)

    @pytest.mark.parametrize("rate", [0, 1, 0.25])
    def test_rates_may_be_a_number(self, rate: float) -> None:
        assert request(refusal_rates=rate).settings.rates == rate

    def test_rates_and_thresholds_may_be_maps(self) -> None:
        accepted = request(refusal_rates={"safety": 1}, refusal_thresholds={"temporal": 0.5})
        assert accepted.settings == Settings(rates={"safety": 1.0}, thresholds={"temporal": 0.5})

    def test_an_empty_map_is_allowed(self) -> None:
        assert request(refusal_rates={}, refusal_thresholds={}).settings == Settings({}, {})

    @pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "0.5", True, [0.5]])
    @pytest.mark.parametrize("field", ["refusal_rates", "refusal_thresholds"])
    def test_anything_but_shares_is_refused_by_name(self, field: str, value: object) -> None:
        with pytest.raises(VLLMValidationError, match=rf"^{field} must be a.*between 0 and 1"):
            request(**{field: value})
        with pytest.raises(VLLMValidationError, match=rf"{field}\.safety must be a number"):
            request(**{field: {"safety": value}})

    def test_the_error_names_the_field_for_the_client(self) -> None:
        with pytest.raises(VLLMValidationError) as caught:
            request(refusal_rates={"safety": "0.5"})
        assert caught.value.parameter == "refusal_rates"


class TestEarlierRefusals:
    def content(self, turn: dict[str, Any]) -> Any:
        return request(messages=[HELLO, turn, HELLO]).messages[1]

    def test_are_rendered_with_their_text(self) -> None:
        turn = self.content({"role": "assistant", "content": None, "refusal": "No."})
        assert turn == {"role": "assistant", "content": "No."}
        assert self.content({"role": "assistant", "refusal": "No."}) == turn

    def test_leave_an_answer_alone(self) -> None:
        turn = {"role": "assistant", "content": "Yes.", "refusal": None}
        assert self.content(turn)["content"] == "Yes."

    def test_do_not_touch_the_clients_own_objects(self) -> None:
        turn = {"role": "assistant", "content": None, "refusal": "No."}
        request(messages=[HELLO, turn, HELLO])
        assert turn == {"role": "assistant", "content": None, "refusal": "No."}


class TestSamplingParams:
    def test_carry_the_thresholds_and_room_for_the_control_token(self) -> None:
        params = admitted(max_tokens=1).to_sampling_params(1, {})
        assert params.max_tokens == 2
        assert RowSettings.from_extra_args(params.extra_args) == RowSettings((0.5, math.inf))

    def test_carry_the_scope(self) -> None:
        accepted = request(refusal_scope="every_token")
        accepted.begin(Turn(STEERING, CONTROL, scope="every_token"))
        carried = RowSettings.from_extra_args(accepted.to_sampling_params(1, {}).extra_args)
        assert carried is not None
        assert carried.every_token

    def test_ask_for_candidates_in_excess(self) -> None:
        params = admitted(logprobs=True, top_logprobs=2).to_sampling_params(1, {})
        assert params.logprobs == 2 + len(CONTROL.ids)

    def test_end_a_refusal_at_its_token_only_where_a_template_follows(self) -> None:
        accepted = admitted(ignore_eos=True)
        assert accepted.to_sampling_params(1, {}).stop_token_ids == []
        accepted.turn.templates = ("No.", "Not yet.")
        params = accepted.to_sampling_params(1, {"stop_token_ids": [9]})
        assert params.stop_token_ids == [9, *CONTROL.refuse]
        assert params.all_stop_token_ids == {9}, "a grammar may not end at a refuse token"

    def test_without_a_respond_token_leave_the_answer_as_long_as_asked(self) -> None:
        assert frozen(max_tokens=1).to_sampling_params(1, {}).max_tokens == 1

    @pytest.mark.parametrize(
        ("category", "thresholds"), [(None, (math.inf, math.inf)), (0, (-math.inf, math.inf))]
    )
    def test_carry_out_what_was_decided_ahead(
        self, category: int | None, thresholds: tuple[float, ...]
    ) -> None:
        accepted = frozen(response_format={"type": "json_object"})
        accepted.turn.ahead = Judgement(category, None)
        params = accepted.to_sampling_params(1, {})
        assert RowSettings.from_extra_args(params.extra_args) == RowSettings(thresholds)
        assert (params.structured_outputs is None) == (category == 0)

    def test_need_an_admitted_request(self) -> None:
        with pytest.raises(RuntimeError, match="without being admitted"):
            request().to_sampling_params(1, {})

    def test_never_carry_a_clients_own_arguments(self) -> None:
        params = admitted(vllm_xargs={"demur": [9.0]}).to_sampling_params(1, {})
        assert RowSettings.from_extra_args(params.extra_args) == RowSettings((0.5, math.inf))


class TestGrammars:
    FORMAT: ClassVar[Any] = {"response_format": {"type": "json_object"}}

    def test_are_decided_ahead_without_a_respond_token(self) -> None:
        assert frozen(**self.FORMAT).is_decided_ahead
        assert frozen(structured_outputs={"choice": ["One"]}).is_decided_ahead
        assert not frozen(response_format={"type": "text"}).is_decided_ahead
        assert not admitted(**self.FORMAT).is_decided_ahead

    def test_start_where_vllm_has_them_start_without_a_respond_token(self) -> None:
        reasons = Namespace(reasoning_parser=True, is_reasoning_end=lambda ids: 7 in ids)
        silent = {"include_reasoning": False}
        for parser, fields, expected in (
            (None, {}, None),
            (None, silent, True),
            (reasons, {}, False),
            (reasons, silent, True),
        ):
            ended = frozen(**fields).resolve_reasoning_ended(parser, [1])  # type: ignore[arg-type]
            assert ended is expected
            # Otherwise the engine's parser looks for the respond token.
            ours = admitted(**fields).resolve_reasoning_ended(parser, [1])  # type: ignore[arg-type]
            assert ours is None
        assert frozen().resolve_reasoning_ended(reasons, [1, 7])  # type: ignore[arg-type]


def test_the_echo_says_what_was_asked_and_what_it_came_to() -> None:
    echo = RefusalSettings.of(
        Settings(rates={"safety": 0.9}, thresholds={"temporal": 1.0}),
        STEERING,
        ("safety", "temporal"),
        "every_token",
    )
    assert echo.model_dump() == {
        "requested_rates": {"safety": 0.9},
        "requested_thresholds": {"temporal": 1.0},
        "requested_budget": None,
        "budget_rate": None,
        "effective_rates": {"safety": 0.9, "temporal": 0.0},
        "over_refusal": 0.1,
        "thresholds": {"safety": pytest.approx(1 / (1 + math.exp(-0.5))), "temporal": 1.0},
        "scope": "every_token",
        "warnings": [],
    }


def test_a_type_that_vllm_does_not_expect_is_a_validation_error() -> None:
    with pytest.raises(ValidationError, match="a field has the wrong type"):
        ChatRequest.model_validate({"messages": [], "structured_outputs": [1]})
