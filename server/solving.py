"""Solving settings: at once where that is quick, beside the event loop where it is not.

New rates take a tenth of a millisecond in most cases. Another thread would get to them late: Python
hands over to it when the event loop waits, or after 5 ms. Some take some hundredths of a
second, and budgets a few milliseconds.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from steering.manifest import Scope
from steering.policy import Policy
from steering.problem import NotQuickError
from steering.settings import Settings, SettingsError

P = ParamSpec("P")
T = TypeVar("T")

_SOLVER = ThreadPoolExecutor(2, "solver")
"""Few threads: Python runs one at a time anyway, and the event loop keeps its share. Two, so that a
request need not wait for somebody's curves."""


async def beside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `function` returns, computed while other requests go on."""
    return await asyncio.wrap_future(_SOLVER.submit(function, *args, **kwargs))


async def solve_ahead(policy: Policy, settings: Settings, scope: Scope | None) -> None:
    """Have `policy` remember what these settings come to, if they come to something."""
    if policy.remembers(settings, scope):
        return
    with suppress(SettingsError):  # Raised again, where the request is checked.
        allowed = policy.scope(scope)
        try:
            policy.resolve(settings, allowed, quick=True)
        except NotQuickError:
            await beside(policy.resolve, settings, allowed)
