"""What the adapters' tests share: a small vocabulary and random settings."""

import math
import random

import torch

from steering.tokens import ControlTokens
from steering.wire import RowSettings

INF = math.inf
VOCABULARY = 24
CONTROL = ControlTokens(respond=5, refuse=(9, 3, 17))
DEFAULT = RowSettings((0.0, 0.0, 0.0))


def random_settings(rng: random.Random) -> RowSettings | None:
    """A request's settings, sometimes none, sometimes switched off or refusing everything."""
    if rng.random() < 0.2:
        return None
    thresholds = tuple(rng.choice([INF, -INF, rng.gauss(0, 3)]) for _ in CONTROL.refuse)
    if rng.random() < 0.5:  # so that not every request with the scope refuses at once
        thresholds = tuple(rng.choice([INF, rng.gauss(2, 2)]) for _ in CONTROL.refuse)
    free = sorted(set(range(VOCABULARY)) - set(CONTROL.ids))
    tokens = rng.sample(free, rng.choice([0, 0, 1, 4]))
    bias = tuple((token, rng.choice([-1000.0, -100.0, 5.0, 100.0])) for token in tokens)
    return RowSettings(thresholds, every_token=rng.random() < 0.5, bias=bias)


def add_bias(row: torch.Tensor, settings: RowSettings | None) -> None:
    """What vLLM does to a row of the logits ([V]) before the gate sees it."""
    for token, value in settings.bias if settings else ():
        row[token] += value
