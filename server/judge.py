"""What the gate makes of a prompt, for the price of one token of the engine.

vLLM takes logprobs before processors run, so they tell every category's probability whatever is
decided. A refuse token that is not among the likeliest is asked for by itself: it is forced, and a
sampled token's logprob always comes along. (vLLM 0.32 can be asked for the logprobs of chosen
tokens; its V1 sampler then mixes up those of every other request in the batch.)
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import uuid4

from vllm.engine.protocol import EngineClient
from vllm.exceptions import VLLMValidationError
from vllm.inputs import EngineInput
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind, SamplingParams

from steering.tokens import ControlTokens
from steering.wire import RowSettings, forcing

CANDIDATES = 20
"""Likeliest tokens that are looked at besides the control tokens, if the engine allows as many."""
NEARLY_ONE = math.log(0.999)
"""Logprob above which 1 - p is summed over the other candidates: float32 rounds it away."""
LIMIT = 1000.0
"""Scores are finite, as JSON has them; no model's come near."""


class Asked(NamedTuple):
    """A prompt, and how the engine is to be asked about it."""

    prompt: EngineInput
    lora_request: LoRARequest | None = None
    priority: int = 0


@dataclass(frozen=True)
class Judgement:
    """What would be decided at the first position of an answer."""

    category: int | None
    """Index of the category that would refuse; None for an answer."""
    log_odds: tuple[float, ...] | None
    """[C] score of every category, finite; None if not asked for."""


class Judge:
    """Asks the engine; one for each process."""

    def __init__(self, engine: EngineClient, control: ControlTokens) -> None:
        self._engine = engine
        self._control = control
        config = engine.vllm_config.model_config
        wanted = CANDIDATES + len(control.ids)
        self._candidates = wanted if config.max_logprobs == -1 else min(wanted, config.max_logprobs)
        self._mode = config.logprobs_mode

    async def judge(
        self, asked: Asked, thresholds: tuple[float, ...], *, scores: bool
    ) -> Judgement:
        """The decision under `thresholds` ([C] log-odds), and every score where they are wanted.

        Raises VLLMValidationError if scores are wanted of an engine that does not give them.
        """
        if scores and self._mode != "raw_logprobs":
            raise VLLMValidationError(
                f"refusal_scores need --logprobs-mode raw_logprobs; this server has {self._mode}",
                parameter="refusal_scores",
            )
        token, logprobs = await self._ask(asked, thresholds, self._candidates if scores else None)
        refuse = self._control.refuse
        category = refuse.index(token) if token in refuse else None
        if not scores:
            return Judgement(category, None)
        unseen = [index for index, own in enumerate(refuse) if own not in logprobs]
        for _, own in await asyncio.gather(*(self._forced(asked, index) for index in unseen)):
            logprobs |= own
        return Judgement(category, tuple(log_odds(logprobs, own) for own in refuse))

    async def _forced(self, asked: Asked, category: int) -> tuple[int, dict[int, float]]:
        return await self._ask(asked, forcing(category, len(self._control.refuse)), 0)

    async def _ask(
        self, asked: Asked, thresholds: tuple[float, ...], candidates: int | None
    ) -> tuple[int, dict[int, float]]:
        """The first token, and logprobs by token id: its own and those of the likeliest."""
        params = SamplingParams(
            max_tokens=1,
            temperature=0,
            logprobs=candidates,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            extra_args=RowSettings(thresholds).to_extra_args(),
        )
        async for output in self._engine.generate(
            asked.prompt,
            params,
            f"judge-{uuid4()}",
            lora_request=asked.lora_request,
            priority=asked.priority,
        ):
            (choice,) = output.outputs
        found = choice.logprobs[0] if choice.logprobs else None
        return choice.token_ids[0], {token: each.logprob for token, each in (found or {}).items()}


def log_odds(logprobs: Mapping[int, float], token: int) -> float:
    """Log p - log(1 - p) of one token, from the float32 logprobs of the likeliest ones.

    Where p is nearly 1, the other candidates stand for all other tokens: the result is too high by
    what the rest of the vocabulary adds to them. NaN counts as the highest score, as in the gate.
    """
    own = logprobs[token]
    if math.isnan(own):
        return LIMIT
    if own <= NEARLY_ONE:
        rest = math.log(-math.expm1(own))
    else:
        others = [value for each, value in logprobs.items() if each != token]
        top = max(others, default=-math.inf)
        if not math.isfinite(top):
            return LIMIT
        rest = top + math.log(sum(math.exp(value - top) for value in others))
    return min(LIMIT, max(-LIMIT, own - rest))
