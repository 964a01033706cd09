"""The gate, written as plainly as its definition: slow, in float64, one prompt at a time."""

import math
from collections.abc import Sequence

from steering.tokens import ControlTokens
from steering.wire import RowSettings


def scores(logits: Sequence[float], refuse_ids: Sequence[int]) -> list[float]:
    """Log-odds of every refuse token; NaN where its logit was tampered with."""
    result = []
    for own in refuse_ids:
        others = [logit for token, logit in enumerate(logits) if token != own]
        if math.isnan(logits[own]) or logits[own] == -math.inf or any(map(math.isnan, others)):
            result.append(math.nan)
            continue
        top = max(others)
        rest = top + math.log(sum(math.exp(logit - top) for logit in others))
        result.append(logits[own] - rest)
    return result


def decision(row: Sequence[float], thresholds: Sequence[float]) -> int | None:
    """Index of the category that refuses, None to answer."""
    refused = None
    best = -math.inf
    for category, (score, threshold) in enumerate(zip(row, thresholds, strict=True)):
        if threshold == math.inf:
            continue
        ranked = math.inf if math.isnan(score) else score
        if ranked >= threshold and (refused is None or ranked > best):
            refused, best = category, ranked
    return refused


def allowed(
    logits: Sequence[float], written: Sequence[int], settings: RowSettings, control: ControlTokens
) -> set[int]:
    """The tokens that may follow `written`, the answer so far."""
    free = set(range(len(logits))) - set(control.ids)
    first = not written
    if not first and (not settings.every_token or set(written) & set(control.refuse)):
        return free
    category = decision(scores(logits, control.refuse), settings.thresholds)
    if category is not None:
        return {control.refuse[category]}
    return {control.respond} if first and control.respond is not None else free
