import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from steering.gate import (
    RESPOND,
    ControlIds,
    apply_gate,
    decide,
    log_odds,
    mask_control,
    targets_of,
)
from steering.tokens import ControlTokens
from tests.steering import oracle

INF = math.inf
NAN = math.nan

score = st.one_of(st.floats(-40, 40, width=32), st.sampled_from([NAN, -INF, INF, 0.0, 1.0, -1.0]))
threshold = st.one_of(st.floats(-40, 40, width=32), st.sampled_from([-INF, INF, 0.0, 1.0]))
logit = st.one_of(st.floats(-80, 80, width=32), st.sampled_from([NAN, -INF, INF, 3e38, -3e38]))
CPU = torch.device("cpu")
Apply = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None, ControlTokens], None
]


def rows(values: list[list[float]]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def applied(
    kind: str,
    logits: torch.Tensor,
    at: torch.Tensor,
    thresholds: torch.Tensor,
    first: torch.Tensor | None,
    control: ControlTokens,
) -> None:
    """`apply_gate` in torch's arithmetic, or in NumPy's, which shares the logits' memory."""
    if kind == "torch":
        apply_gate(logits, at, thresholds, first, ControlIds.on(CPU, control))
        return
    on_host = None if first is None else first.numpy()
    ids = ControlIds.on_host(control)
    apply_gate(logits.numpy(), at.numpy(), thresholds.numpy(), on_host, ids)


class TestLogOdds:
    def test_equals_the_definition(self) -> None:
        logits = rows([[0.0, 1.0, 2.0, 3.0]])
        odds = log_odds(logits.clone(), torch.tensor([1, 3]))
        p = torch.softmax(logits[0].double(), dim=0)
        expected = [torch.logit(p[1]).item(), torch.logit(p[3]).item()]
        assert odds[0].tolist() == pytest.approx(expected, abs=1e-6)

    def test_tells_apart_what_probabilities_cannot(self) -> None:
        # Both probabilities are 1.0 in float32.
        sure, surer = log_odds(rows([[40.0, 0, 0], [50.0, 0, 0]]), torch.tensor([0])).flatten()
        assert torch.sigmoid(sure) == torch.sigmoid(surer) == 1
        assert surer - sure == pytest.approx(10)

    def test_does_not_cancel_for_unlikely_tokens(self) -> None:
        (odds,) = log_odds(rows([[-80.0, 0.0]]), torch.tensor([0])).flatten()
        assert odds.item() == -80

    @pytest.mark.parametrize("tampered", [NAN, -INF])
    def test_is_nan_where_a_refuse_logit_was_tampered_with(self, tampered: float) -> None:
        odds = log_odds(rows([[tampered, 1.0, 0.0]]), torch.tensor([0, 1]))
        assert math.isnan(odds[0, 0])

    def test_is_nan_everywhere_where_another_logit_is_nan(self) -> None:
        assert log_odds(rows([[1.0, 2.0, NAN]]), torch.tensor([0, 1])).isnan().all()

    def test_half_precision_is_raised_to_float32(self) -> None:
        odds = log_odds(torch.zeros(1, 4, dtype=torch.bfloat16), torch.tensor([0]))
        assert odds.dtype == torch.float32
        assert odds.item() == pytest.approx(-math.log(3))

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_agrees_with_the_oracle(self, data: st.DataObject) -> None:
        vocabulary = data.draw(st.integers(2, 12))
        ids = data.draw(st.permutations(range(vocabulary)))
        refuse = ids[: data.draw(st.integers(1, vocabulary - 1))]
        row = data.draw(
            st.lists(st.floats(-60, 60, width=32), min_size=vocabulary, max_size=vocabulary)
        )
        odds = log_odds(rows([row]), torch.tensor(refuse))
        assert odds[0].tolist() == pytest.approx(oracle.scores(row, refuse), abs=1e-4)


class TestDecide:
    def decided(self, scores: list[float], thresholds: list[float]) -> int:
        [decision] = decide(rows([scores]), rows([thresholds])).tolist()
        assert decide(rows([scores]).numpy(), rows([thresholds]).numpy()).tolist() == [decision]
        return int(decision)

    def test_answers_below_every_threshold(self) -> None:
        assert self.decided([0.9, -3], [1, -2]) == RESPOND

    def test_refuses_at_the_threshold_itself(self) -> None:
        assert self.decided([1, -3], [1, -2]) == 0

    def test_names_the_largest_score_among_those_that_reach(self) -> None:
        assert self.decided([5, 2, 3], [6, 1, 1]) == 2

    def test_names_the_earlier_category_of_equal_scores(self) -> None:
        assert self.decided([1, 2, 2], [0, 0, 0]) == 1

    def test_infinite_thresholds_switch_off_and_refuse_all(self) -> None:
        assert self.decided([50, -50], [INF, -INF]) == 1
        assert self.decided([50, 50], [INF, INF]) == RESPOND

    def test_refuses_everything_even_at_a_score_of_minus_infinity(self) -> None:
        assert self.decided([-INF, -5], [-INF, 0]) == 0

    def test_nan_refuses_unless_its_category_is_off(self) -> None:
        assert self.decided([3, NAN], [0, 40]) == 1
        assert self.decided([3, NAN], [0, INF]) == 0
        assert self.decided([NAN, NAN], [INF, INF]) == RESPOND

    @settings(max_examples=300, deadline=None)
    @given(
        st.integers(1, 6).flatmap(
            lambda n: st.lists(
                st.tuples(
                    st.lists(score, min_size=n, max_size=n),
                    st.lists(threshold, min_size=n, max_size=n),
                ),
                min_size=1,
                max_size=5,
            )
        )
    )
    def test_agrees_with_the_oracle(self, batch: list[tuple[list[float], list[float]]]) -> None:
        scores, thresholds = zip(*batch, strict=True)
        both = rows(list(scores)), rows(list(thresholds))
        categories = [oracle.decision(*row) for row in batch]
        expected = [RESPOND if category is None else category for category in categories]
        assert decide(*both).tolist() == expected
        assert decide(both[0].numpy(), both[1].numpy()).tolist() == expected

    def test_one_row_of_thresholds_is_for_all_scores(self) -> None:
        scores = np.array([[1, -1], [-1, 1], [-1, -1]], dtype=np.float32)
        decisions = decide(scores, np.zeros(2, dtype=np.float32))
        assert decisions.tolist() == [0, 1, RESPOND]


class TestTargets:
    CHOICES = torch.tensor([4, 5, 3])  # two refuse tokens, then the respond token
    DECISIONS = torch.tensor([0, 1, RESPOND])
    FIRST = torch.tensor([True, True, True])

    def targets(self, first: torch.Tensor | None, choices: torch.Tensor) -> list[int]:
        found: list[int] = targets_of(self.DECISIONS, first, choices).tolist()
        on_host = None if first is None else first.numpy()
        assert targets_of(self.DECISIONS.numpy(), on_host, choices.numpy()).tolist() == found
        return found

    @pytest.mark.parametrize("first", [FIRST, None])
    def test_every_first_token_is_decided(self, first: torch.Tensor | None) -> None:
        assert self.targets(first, self.CHOICES) == [4, 5, 3]

    def test_without_a_respond_token_an_answer_goes_on_as_the_model_likes(self) -> None:
        assert self.targets(self.FIRST, torch.tensor([4, 5, -1])) == [4, 5, -1]

    def test_behind_the_first_position_only_refusals_are_forced(self) -> None:
        assert self.targets(~self.FIRST, self.CHOICES) == [4, 5, -1]


class TestApplyGate:
    CONTROL = ControlTokens(respond=3, refuse=(4, 5))

    @pytest.fixture(params=["numpy", "torch"])
    def apply(self, request: pytest.FixtureRequest) -> Apply:
        return partial(applied, request.param)

    def test_touches_no_other_rows_but_for_the_mask(self, apply: Apply) -> None:
        logits = torch.randn(4, 8)
        before = logits.clone()
        thresholds = rows([[-INF, INF], [INF, INF]])
        apply(logits, torch.tensor([2, 0]), thresholds, torch.tensor([True, True]), self.CONTROL)
        assert (logits[2] > -INF).nonzero().flatten().tolist() == [4]
        assert (logits[0] > -INF).nonzero().flatten().tolist() == [3]
        others = [token for token in range(8) if token not in self.CONTROL.ids]
        assert torch.equal(logits[[1, 3]][:, others], before[[1, 3]][:, others])
        assert (logits[[1, 3]][:, list(self.CONTROL.ids)] == -INF).all()

    def test_an_answer_that_goes_on_is_only_masked(self, apply: Apply) -> None:
        logits = torch.randn(1, 8)
        before = logits.clone()
        apply(logits, torch.tensor([0]), rows([[INF, INF]]), torch.tensor([False]), self.CONTROL)
        mask_control(before, ControlIds.on(CPU, self.CONTROL))
        assert torch.equal(logits, before)

    @settings(
        max_examples=200,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(logit, min_size=8, max_size=8), st.lists(threshold, min_size=2, max_size=2))
    def test_whatever_the_logits_it_decides_as_scores_and_thresholds_say(
        self, apply: Apply, row: list[float], thresholds: list[float]
    ) -> None:
        scores = log_odds(rows([row]), torch.tensor(self.CONTROL.refuse))
        margins = (scores - rows([thresholds])).abs()
        # Two libraries' sums may differ in the last place.
        assume(not (margins < 1e-3).any() and not (scores[:, 0] - scores[:, 1]).abs() < 1e-3)
        logits = rows([row])
        apply(logits, torch.tensor([0]), rows([thresholds]), None, self.CONTROL)
        decided = int(decide(scores, rows([thresholds])))
        target = self.CONTROL.respond if decided == RESPOND else self.CONTROL.refuse[decided]
        assert (logits[0] > -INF).nonzero().flatten().tolist() == [target]

    @pytest.mark.parametrize("control", [ControlTokens(4, (2, 3)), ControlTokens(6, (1, 3))])
    def test_masks_alone(self, control: ControlTokens) -> None:
        """Whether the control tokens stand side by side or not."""
        logits = torch.zeros(2, 8)
        on_host = logits.clone().numpy()
        mask_control(logits, ControlIds.on(CPU, control))
        mask_control(on_host, ControlIds.on_host(control))
        masked = [index in control.ids for index in range(8)]
        assert (logits == -INF).tolist() == [masked, masked]
        assert (on_host == -INF).tolist() == [masked, masked]
