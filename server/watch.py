"""Does the dial stay true? A sample of the live prompts is looked at, beside their answers.

A prompt that is drawn is judged once more, for a few tokens (`server.judge`) behind a prompt that
is in the engine's prefix cache. From the sample come the distribution of scores, their drift from
the calibration, and the rates that were asked for against those that came out. Labels are not
known: a prompt counts for the category that the model itself holds most likely, from p = 0.5 on.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Coroutine, Sequence
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from vllm.logger import init_logger

from server.flags import Sample
from server.judge import Judgement
from server.metrics import Metrics
from server.turn import Turn
from steering.calibration import CalibrationScores
from steering.drift import WINDOW, Drift, DriftWindow
from steering.scope_policy import HABIT
from steering.settings import Steering

LOOK_EVERY = 20
"""Prompts between two comparisons with the calibration."""

Judging = Coroutine[Any, Any, Judgement]

logger = init_logger("vllm.demur.watch")


class _Seen(NamedTuple):
    category: str | None
    """What the model holds the prompt for; None for harmless."""
    refused: bool
    steering: Steering


class Watch:
    """Looks at a share of the prompts of one process; for one event loop."""

    def __init__(
        self,
        categories: Sequence[str],
        calibration: CalibrationScores | None,
        metrics: Metrics,
        sample: Sample,
    ) -> None:
        """calibration: of the first token; None without."""
        self._categories = tuple(categories)
        self._metrics = metrics
        self._sample = sample
        self._next = -math.inf
        self._seen: deque[_Seen] = deque(maxlen=WINDOW)
        self._window = None
        if calibration is not None and len(calibration.labels):
            self._window = DriftWindow(categories, calibration.scores)
        self._added = 0
        self._alarmed: frozenset[str] = frozenset()
        self._running: set[asyncio.Task[None]] = set()

    def draw(self) -> bool:
        """Whether the next prompt is one to look at."""
        now = monotonic()
        drawn = now >= self._next and random.random() < self._sample.share
        if drawn:
            self._next = now + self._sample.pause_s
        return drawn

    def look(self, judging: Judging | Judgement, turn: Turn) -> None:
        """Take in a prompt that was judged, or have it judged beside its answer; returns at once.

        What every token may refuse says nothing of rates: the first one is not all that decides.
        """
        steering = None if turn.every_token else turn.steering
        task = asyncio.create_task(self._look(judging, steering))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _look(self, judging: Judging | Judgement, steering: Steering | None) -> None:
        try:
            judgement = judging if isinstance(judging, Judgement) else await judging
            await self.add(judgement, steering)
        except Exception:
            # The answer is under way all the same; a dead engine ends it, and says so.
            self._metrics.failed()
            logger.debug("A prompt could not be looked at", exc_info=True)

    async def add(self, judgement: Judgement, steering: Steering | None) -> None:
        """Take in one prompt that was judged with its scores.

        steering: under which its first token was decided; None if rates are not to be compared.
        """
        if judgement.log_odds is None:
            raise ValueError("a prompt to look at must be judged with its scores")
        scores = np.array(judgement.log_odds)
        own = int(scores.argmax())
        category = self._categories[own] if scores[own] >= HABIT else None
        if steering is not None:
            self._seen.append(_Seen(category, judgement.category is not None, steering))
        self._metrics.looked_at(judgement.log_odds)
        self._added += 1
        if self._window is not None:
            self._window.add(scores)
        if self._added % LOOK_EVERY == 0:
            self._compare_rates()
            if self._window is not None:
                # Some milliseconds that answers need not wait for.
                self._tell(await asyncio.to_thread(self._window.look))

    def _compare_rates(self) -> None:
        requested: dict[str, float] = {}
        realised: dict[str, float] = {}
        for name in self._categories:
            own = [seen for seen in self._seen if seen.category == name]
            rates = [
                seen.steering.effective_rates[name]
                for seen in own
                if seen.steering.effective_rates and name in seen.steering.effective_rates
            ]
            if rates:
                requested[name] = float(np.mean(rates))
                realised[name] = float(np.mean([seen.refused for seen in own]))
        self._metrics.rates(requested, realised)
        shares = [seen.steering.over_refusal for seen in self._seen]
        known = [share for share in shares if share is not None]
        if known:
            self._metrics.over_refusal(float(np.mean(known)))

    def _tell(self, drifts: Sequence[Drift] | None) -> None:
        if drifts is None:
            return
        self._metrics.drift(drifts)
        alarmed = frozenset(each.category for each in drifts if each.alarm)
        for each in drifts:
            if each.category in alarmed - self._alarmed:
                logger.warning(
                    "Prompts have changed since the calibration: the scores of %s have a"
                    " population stability index of %.2f (alarm above %.2f). Rates may not come"
                    " out as asked; see docs/calibration.md",
                    each.category,
                    each.index,
                    each.limit,
                )
        if self._alarmed and not alarmed:
            logger.info("The scores of live prompts are again like the calibration's")
        self._alarmed = alarmed
