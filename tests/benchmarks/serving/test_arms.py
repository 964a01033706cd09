from pathlib import Path

import pytest

from benchmarks.serving.arms import ARMS, PAIRS, order, settings
from benchmarks.serving.cells import NATURAL, WARM_UP, Load
from benchmarks.serving.cli import options
from benchmarks.serving.guard import POLICY, question

CATEGORIES = ("safety", "temporal")


def test_every_second_repetition_goes_backwards() -> None:
    arms = ["a", "b", "c"]
    assert [order(arms, repetition) for repetition in range(3)] == [
        ["a", "b", "c"],
        ["c", "b", "a"],
        ["a", "b", "c"],
    ]


def test_pairs_are_of_arms() -> None:
    assert {name for pair in PAIRS for name in pair} == {*ARMS}


class TestSettings:
    def test_stock_servers_are_sent_none(self) -> None:
        assert settings(ARMS["a"], CATEGORIES, 2, "x") == [{}, {}]

    def test_everything_is_answered_at_rate_0(self) -> None:
        assert settings(ARMS["b"], CATEGORIES, 2, "x") == [{"refusal_rates": 0.0}] * 2

    def test_mixed_settings_are_of_all_kinds_and_the_same_again(self) -> None:
        found = settings(ARMS["c"], CATEGORIES, 200, "x")
        assert found == settings(ARMS["c"], CATEGORIES, 200, "x")
        assert found != settings(ARMS["c"], CATEGORIES, 200, "y")
        rates = [each.get("refusal_rates") for each in found]
        kinds = {type(rate) for rate in rates}
        assert kinds == {type(None), float, dict}
        assert all(each.keys() == {*CATEGORIES} for each in rates if isinstance(each, dict))


class TestLoad:
    def test_a_warm_up_then_every_load(self) -> None:
        cells = Load(concurrency=(1, 8), shares=(0.5,), requests=16).cells()
        assert [cell.name for cell in cells] == [
            WARM_UP,
            "1 at once",
            "8 at once",
            "50% of saturation",
            NATURAL,
        ]
        assert [cell.requests for cell in cells] == [8, 2, 16, 16, 16]

    def test_saturation_is_the_most_at_once(self) -> None:
        assert Load(concurrency=(8, 1)).saturating().concurrency == 8


class TestOptions:
    def test_the_defaults_are_written_once(self, of_checkpoint: list[str]) -> None:
        assert options(of_checkpoint).load == Load()

    def test_a_small_run(self, of_checkpoint: list[str]) -> None:
        chosen = options(
            [
                *of_checkpoint,
                "--arms",
                "b",
                "a",
                "--concurrency",
                "2",
                "--shares",
                "--requests",
                "4",
                "--tokens",
                "8",
            ]
        )
        assert chosen.under_load == ["a", "b"]
        assert not chosen.many
        assert chosen.load == Load((2,), (), 4, 8)
        load = {"concurrency": [2], "shares": [], "requests": 4, "tokens": 8}
        own = {"layers": None, "together": False, "shared": False, "rounds": 1}
        assert chosen.fixed() == load | own

    @pytest.mark.parametrize("other", [["--together"], ["--shared"], ["--layers", "16"]])
    def test_figures_of_other_servers_are_not_mixed(
        self, other: list[str], of_checkpoint: list[str]
    ) -> None:
        assert options([*of_checkpoint, *other]).fixed() != options(of_checkpoint).fixed()

    @pytest.mark.parametrize("number", ["0", "-1", "x"])
    def test_numbers_are_at_least_1(self, number: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            options(["--requests", number])
        assert "at least 1" in capsys.readouterr().err

    def test_a_folder_without_a_manifest_is_no_checkpoint(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            options(["--checkpoint", str(tmp_path)])
        assert f"{tmp_path / 'refusal.json'} cannot be read" in capsys.readouterr().err


def test_the_guard_is_asked_about_the_last_prompt() -> None:
    content = [{"type": "text", "text": "Buy "}, {"type": "text", "text": "bread"}]
    body = {"model": "m", "messages": [{"role": "user", "content": content}], "stream": True}
    asked = question(body)
    assert asked["messages"] == [{"role": "user", "content": f"{POLICY}Buy bread"}]
    assert "stream" not in asked
