import threading
from types import SimpleNamespace
from typing import Any

import pytest

from server import drain, engine_death
from server.engine_death import EngineDeathError


def engine(*, errored: bool) -> Any:
    return SimpleNamespace(errored=errored)


@pytest.fixture(autouse=True)
def no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_stopping", threading.Event())


def test_one_that_ends_because_all_is_to_end_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_death, "_engines", [engine(errored=True)])
    drain._stopping.set()
    engine_death.check()


def test_an_engine_that_died_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_death, "_engines", [])
    engine_death.check()
    engine_death.watch(engine(errored=False))
    engine_death.check()
    engine_death.watch(engine(errored=True))
    with pytest.raises(EngineDeathError, match="the engine died"):
        engine_death.check()
