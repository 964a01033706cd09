"""What the adapters' tests share: a small vocabulary and random settings."""

import math
import random

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
    return RowSettings(thresholds, every_token=rng.random() < 0.5)
