"""The servers that are compared, and what their clients ask of them."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Program = Literal["stock", "ours", "timed", "shared"]
RATES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Rates that mixed requests ask for."""
NOTHING = ("--logits-processors", "benchmarks.serving.nothing:Nothing")


@dataclass(frozen=True)
class Arm:
    """One way to serve the checkpoint."""

    title: str
    program: Program = "stock"
    """`timed` is ours with a clock in it, `shared` stock vLLM and ours in one: see the modules of
    these names in benchmarks/serving."""
    flags: tuple[str, ...] = ()
    guarded: bool = False
    """Whether clients ask through the guard's proxy."""
    settings: Literal["none", "answer", "mixed"] = "none"
    """What requests say of refusals."""

    @property
    def gated(self) -> bool:
        """Whether control tokens are kept from clients, and from `usage`."""
        return self.program in ("ours", "timed")


ARMS: Mapping[str, Arm] = {
    "a": Arm("stock vLLM"),
    "a2": Arm("stock vLLM again"),
    "b": Arm("Demur, everything answered", "ours", settings="answer"),
    "c": Arm("Demur, mixed settings", "ours", settings="mixed"),
    "d": Arm("stock vLLM, a processor that does nothing", flags=NOTHING),
    "e": Arm("guard model first, then stock vLLM", guarded=True),
}
MANY = "f"
"""One server per refusal setting: looked at for memory alone, so it is no arm under load."""
NAMES = (*ARMS, MANY)
IN_SHARED = ("a", "a2", "b", "c")
"""Those that one server can be, in turn."""
PAIRS = (("a2", "a"), ("b", "a"), ("c", "b"), ("d", "a"), ("e", "b"))
"""What is divided by what; the first is the noise floor."""


def settings(arm: Arm, categories: Sequence[str], requests: int, seed: str) -> list[dict[str, Any]]:
    """What each request adds to its body; the same for the same seed."""
    if arm.settings == "none":
        return [{}] * requests
    if arm.settings == "answer":
        return [{"refusal_rates": 0.0}] * requests
    chance = random.Random(seed)
    return [_mixed(chance, categories) for _ in range(requests)]


def _mixed(chance: random.Random, categories: Sequence[str]) -> dict[str, Any]:
    """A quarter the operator's default, a quarter one rate for all, the rest one per category."""
    kind = chance.randrange(4)
    if kind == 0:
        return {}
    if kind == 1:
        return {"refusal_rates": chance.choice(RATES)}
    return {"refusal_rates": {name: chance.choice(RATES) for name in categories}}


def order(arms: Sequence[str], repetition: int) -> list[str]:
    """ABBA: every second repetition runs backwards, so that a drift of the machine cancels out."""
    return list(arms) if repetition % 2 == 0 else list(reversed(arms))
