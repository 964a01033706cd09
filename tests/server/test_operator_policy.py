import math
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from server.checkpoint import Checkpoint
from server.operator_file import OperatorFileError
from server.operator_policy import (
    LivePolicy,
    OperatorPolicy,
    api_keys,
    sha256_of,
)
from steering.policy import Policy
from steering.settings import Settings, SettingsError

KIOSK, STAFF = "a kiosk's key", "a colleague's key"
FILE = f"""\
version: 1
categories:
  safety: {{default: 1.0, floor: 0.5}}
scopes: [first_token]
keys:
  kiosk:
    sha256: {sha256_of(KIOSK).upper()}
    categories:
      safety: {{floor: 1.0}}
      temporal: {{default: 0, ceiling: 0}}
  staff:
    sha256: {sha256_of(STAFF)}
    scope: every_token
    scopes: [first_token, every_token]
    categories:
      safety: {{default: 0, floor: 0}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(FILE)
    return path


def thresholds(policy: Policy, rates: Any = None) -> tuple[float, ...]:
    return policy.resolve(Settings(rates=rates)).thresholds


class TestWhoGetsWhat:
    @pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer other", KIOSK])
    def test_everybody(self, path: Path, checkpoint: Checkpoint, header: str | None) -> None:
        policy = OperatorPolicy.read(path, checkpoint).of(header)
        assert thresholds(policy) == (1, 0)
        with pytest.raises(SettingsError, match=r"below the floor of 0\.5"):
            thresholds(policy, {"safety": 0.4})

    def test_a_key_has_its_rules_over_everybodys(self, path: Path, checkpoint: Checkpoint) -> None:
        policy = OperatorPolicy.read(path, checkpoint).of(f"Bearer {KIOSK}")
        assert thresholds(policy) == (1, math.inf)
        with pytest.raises(SettingsError, match="below the floor of 1 "):
            thresholds(policy, {"safety": 0.9})
        with pytest.raises(SettingsError, match="above the ceiling of 0 "):
            thresholds(policy, {"temporal": 0.5})

    def test_a_key_may_be_freer(self, path: Path, checkpoint: Checkpoint) -> None:
        policy = OperatorPolicy.read(path, checkpoint).of(f"Bearer {STAFF}")
        assert thresholds(policy) == (math.inf, 0)
        assert policy.scope(None) == "every_token"

    def test_a_file_that_says_nothing_changes_nothing(
        self, tmp_path: Path, checkpoint: Checkpoint
    ) -> None:
        empty = tmp_path / "policy.yaml"
        empty.write_text("# nothing yet\n")
        policy = OperatorPolicy.read(empty, checkpoint).of(f"Bearer {KIOSK}")
        assert thresholds(policy) == thresholds(checkpoint.policy)


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "faults"),
        [
            ("categories: {safety: {default: 2}}", ["line 1, categories.safety.default: ", "2"]),
            ("categories:\n  safety: {floor: '1'}", ["line 2, categories.safety.floor: ", "'1'"]),
            ("categories:\n  safety: {flor: 1}", ["line 2, categories.safety.flor: Extra"]),
            ("categories:\n  safty: {floor: 1}", ["line 2, categories.safty: unknown category"]),
            (
                "categories:\n  safety:\n    floor: 0.9\n    ceiling: 0.1",
                ["line 2, categories.safety: floor 0.9 is above ceiling 0.1"],
            ),
            ("version: 2", ["line 1, version: ", "not 2"]),
            ("scope: sometimes", ["line 1, scope: ", "'sometimes'"]),
            ("scopes: []", ["line 1, scopes: "]),
            ("keys: {a: {}}", ["line 1, keys.a.sha256: Field required"]),
            ("keys:\n  a:\n    sha256: secret", ["line 3, keys.a.sha256: "]),
            (
                f"keys:\n  a: {{sha256: {'0' * 64}}}\n  b: {{sha256: {'0' * 64}}}",
                ["line 2, keys.a.sha256"],
            ),
            ("[1, 2]", ["line 1, the file: "]),
            ("a: [", ["line 1: "]),
            (
                "scope: never\ncategories:\n  safety: {floor: 7}",
                ["line 1, scope", "line 3, categories.safety.floor"],
            ),
        ],
    )
    def test_name_line_and_key(
        self, tmp_path: Path, checkpoint: Checkpoint, text: str, faults: list[str]
    ) -> None:
        path = tmp_path / "policy.yaml"
        path.write_text(text)
        with pytest.raises(OperatorFileError) as caught:
            OperatorPolicy.read(path, checkpoint)
        assert all(fault in str(caught.value) for fault in faults), caught.value

    def test_of_two_keys_alike(self, tmp_path: Path, checkpoint: Checkpoint) -> None:
        path = tmp_path / "policy.yaml"
        hashed = sha256_of("same")
        path.write_text(f"keys:\n  a: {{sha256: {hashed}}}\n  b: {{sha256: {hashed}}}\n")
        with pytest.raises(OperatorFileError, match=r"line 3, keys\.b: the same sha256 as another"):
            OperatorPolicy.read(path, checkpoint)

    def test_that_a_key_makes_of_everybodys_stand_at_the_key(
        self, tmp_path: Path, checkpoint: Checkpoint
    ) -> None:
        path = tmp_path / "policy.yaml"
        path.write_text(
            "categories:\n  safety: {default: 0.5}\nkeys:\n  a:\n"
            f"    sha256: {sha256_of('a')}\n    categories:\n      safety: {{floor: 0.9}}\n"
        )
        with pytest.raises(
            OperatorFileError, match=r"line 7, keys\.a\.categories\.safety: default"
        ):
            OperatorPolicy.read(path, checkpoint)

    @pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
    def test_of_files_that_cannot_be_read(
        self, tmp_path: Path, checkpoint: Checkpoint, content: bytes | None
    ) -> None:
        path = tmp_path / "policy.yaml"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(OperatorFileError, match="cannot be read"):
            OperatorPolicy.read(path, checkpoint)


class TestLive:
    def test_is_read_again(self, path: Path, checkpoint: Checkpoint) -> None:
        live = LivePolicy(checkpoint, path, [KIOSK, STAFF])
        before = live.current
        path.write_text("categories: {safety: {default: 0}}")
        live.reload()
        assert thresholds(live.current.everybody)[0] == math.inf
        assert thresholds(before.everybody)[0] == 1

    @pytest.mark.parametrize("text", ["categories: {safety: {default: 7}}", None])
    def test_stays_as_it_was_behind_a_faulty_file(
        self,
        path: Path,
        checkpoint: Checkpoint,
        text: str | None,
        log: list[str],
    ) -> None:
        live = LivePolicy(checkpoint, path, [])
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        live.reload()
        assert thresholds(live.current.everybody)[0] == 1
        assert any("The old refusal policy stays in force" in line for line in log)

    def test_knows_no_rules_without_a_file(self, checkpoint: Checkpoint) -> None:
        live = LivePolicy(checkpoint, None, [])
        live.reload()
        assert live.current.of("Bearer a") is checkpoint.policy

    def test_says_which_keys_nobody_can_use(
        self, path: Path, checkpoint: Checkpoint, log: list[str]
    ) -> None:
        LivePolicy(checkpoint, path, [STAFF])
        assert any("has the sha256 of: kiosk" in line for line in log)


class TestKeysOfTheServer:
    def test_are_vllms(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("VLLM_API_KEY", raising=False)
        assert api_keys(Namespace(api_key=None)) == []
        assert api_keys(Namespace(api_key=["a", "b"])) == ["a", "b"]
        monkeypatch.setenv("VLLM_API_KEY", "c")
        assert api_keys(Namespace(api_key=None)) == ["c"]
        assert api_keys(Namespace(api_key=["a"])) == ["a"]
