import asyncio
import threading
from typing import Any

import pytest

from server import solving
from server.solving import beside, solve_ahead
from steering.policy import Policy
from steering.scope_policy import ScopePolicy
from steering.settings import Budget, Settings, Steering
from tests.server.conftest import MANIFEST, SCOPED

SECONDS = 30


def test_what_is_quick_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solving, "_SOLVER", None)
    policy, settings = Policy(MANIFEST, SCOPED), Settings({"safety": 0.5})
    asyncio.run(solve_ahead(policy, settings, None))
    assert policy.remembers(settings)


def test_the_event_loop_goes_on_while_settings_are_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The solver waits for the loop here: on the loop itself it would wait in vain."""
    policy, loop_went_on = Policy(MANIFEST, SCOPED), threading.Event()
    solve = ScopePolicy.resolve

    def waiting(self: ScopePolicy, settings: Settings, *, quick: bool = False) -> Steering:
        assert quick or loop_went_on.wait(SECONDS)
        return solve(self, settings, quick=quick)

    monkeypatch.setattr(ScopePolicy, "resolve", waiting)
    settings = Settings(budget=Budget(0.5))

    async def main() -> None:
        found = asyncio.create_task(solve_ahead(policy, settings, None))
        await asyncio.sleep(0.05)
        assert not policy.remembers(settings)
        loop_went_on.set()
        await found

    asyncio.run(main())
    assert policy.remembers(settings)


@pytest.mark.parametrize(
    ("settings", "scope"),
    [(Settings({"weather": 0.5}), None), (Settings(0.5), "every_token")],
)
def test_what_is_wrong_is_left_to_the_check(settings: Settings, scope: Any) -> None:
    policy = Policy(MANIFEST, SCOPED)
    policy.scopes = ("first_token",)
    asyncio.run(solve_ahead(policy, settings, scope))
    assert not policy.remembers(settings)


def test_what_fails_beside_fails_here() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(beside(divmod, 1, 0))
