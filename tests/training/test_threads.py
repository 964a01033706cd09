import os

import pytest

from training.threads import wait_without_spinning


def test_threads_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    wait_without_spinning()
    assert os.environ == {"OMP_WAIT_POLICY": "PASSIVE"}


def test_a_policy_in_the_environment_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"OMP_WAIT_POLICY": "ACTIVE"})
    wait_without_spinning()
    assert os.environ == {"OMP_WAIT_POLICY": "ACTIVE"}
