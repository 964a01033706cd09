import asyncio
import math
from argparse import Namespace
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from vllm.exceptions import VLLMValidationError
from vllm.inputs.engine import tokens_input
from vllm.logprobs import Logprob
from vllm.sampling_params import SamplingParams

from server.judge import LIMIT, Asked, Judge, Judgement, log_odds
from steering import gate
from steering.tokens import ControlTokens
from steering.wire import RowSettings

CONTROL = ControlTokens(respond=1, refuse=(2, 3))
OPEN = (0.0, 0.0)
LOGITS = [0.0, 1.0, 3.0, -2.0, 0.5, 0.25]
PROMPT = Asked(tokens_input([7]))


class Engine:
    """An engine for one prompt whose logits are given; it gates as the real one does."""

    def __init__(self, logits: list[float], **config: Any) -> None:
        self._logits = torch.tensor([logits])
        settings = {"max_logprobs": 20, "logprobs_mode": "raw_logprobs"} | config
        self.vllm_config = Namespace(model_config=Namespace(**settings))
        self.asked: list[SamplingParams] = []

    async def generate(
        self, _: Any, params: SamplingParams, __: str, **___: Any
    ) -> AsyncIterator[Any]:
        self.asked.append(params)
        settings = RowSettings.from_extra_args(params.extra_args)
        assert settings is not None
        scores = gate.log_odds(self._logits.clone(), torch.tensor(CONTROL.refuse))
        decided = int(gate.decide(scores, torch.tensor([settings.thresholds])))
        token = CONTROL.respond if decided < 0 else CONTROL.refuse[decided]
        assert token is not None
        found = None
        if params.logprobs is not None:
            raw = self._logits.log_softmax(dim=-1)[0]
            top = raw.topk(params.logprobs).indices.tolist() if params.logprobs else []
            found = [{each: Logprob(float(raw[each])) for each in [token, *top]}]
        yield Namespace(outputs=[Namespace(token_ids=[token], logprobs=found)])


def judged(engine: Engine, *, scores: bool = True) -> Judgement:
    judge = Judge(engine, CONTROL)  # type: ignore[arg-type]
    return asyncio.run(judge.judge(PROMPT, OPEN, scores=scores))


class TestLogOdds:
    @given(
        st.lists(st.floats(-30, 30, width=32), min_size=8, max_size=24),
        st.floats(-40, 40, width=32),
    )
    def test_is_the_gates_score_where_all_tokens_are_known(
        self, others: list[float], own: float
    ) -> None:
        logits = np.array([own, *others], dtype=np.float32)
        raw = torch.tensor(logits).log_softmax(dim=-1).tolist()
        exact = own - float(torch.tensor(others, dtype=torch.float64).logsumexp(dim=0))
        assert log_odds(dict(enumerate(raw)), 0) == pytest.approx(exact, abs=0.01)

    def test_is_too_high_by_what_is_not_known_where_p_is_nearly_one(self) -> None:
        # Two other tokens of equal probability, of which one is known.
        logprobs = {0: 0.0, 1: -20.0}
        assert log_odds(logprobs, 0) == pytest.approx(20)

    @pytest.mark.parametrize("own", [0.0, math.nan])
    def test_is_finite(self, own: float) -> None:
        assert log_odds({0: own}, 0) == LIMIT

    def test_of_a_token_that_cannot_come_is_finite(self) -> None:
        assert log_odds({0: -math.inf, 1: 0.0}, 0) == -LIMIT


class TestJudge:
    def test_gives_the_decision_and_every_score(self) -> None:
        expected = gate.log_odds(torch.tensor([LOGITS]), torch.tensor(CONTROL.refuse))[0]
        found = judged(Engine(LOGITS, max_logprobs=6))
        assert found.category == 0
        assert found.log_odds == pytest.approx(expected.tolist(), abs=1e-5)

    def test_asks_again_only_for_what_is_not_among_the_likeliest(self) -> None:
        whole, part = Engine(LOGITS, max_logprobs=6), Engine(LOGITS, max_logprobs=2)
        assert judged(part).log_odds == pytest.approx(judged(whole).log_odds, abs=1e-5)
        assert [len(engine.asked) for engine in (whole, part)] == [1, 2]

    def test_without_scores_is_one_request_without_logprobs(self) -> None:
        engine = Engine(LOGITS)
        assert judged(engine, scores=False) == Judgement(0, None)
        (params,) = engine.asked
        assert params.logprobs is None
        assert params.max_tokens == 1

    def test_has_no_scores_from_logprobs_behind_the_gate(self) -> None:
        engine = Engine(LOGITS, logprobs_mode="processed_logprobs")
        assert judged(engine, scores=False).category == 0
        with pytest.raises(VLLMValidationError, match="this server has processed_logprobs"):
            judged(engine)
