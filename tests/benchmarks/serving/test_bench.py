import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from benchmarks.serving import bench
from benchmarks.serving.arms import ARMS, Arm
from benchmarks.serving.cells import Cell, Load
from benchmarks.serving.cli import Options
from benchmarks.serving.load import Target
from benchmarks.serving.results import Requests, Saturation
from steering.manifest import Category, Manifest
from tests.benchmarks.serving.made import MEMORY, requests
from training.export import TEST_PROMPTS

TURNS = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
RECORD = {"messages": TURNS, "category": None}


class Asked(NamedTuple):
    """A load."""

    title: str
    """The server's."""
    url: str
    rate: float | None
    in_front: set[int]
    """Control tokens of its answers."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Every load; servers and what they are asked are not what is tested."""
    found: list[Asked] = []

    @contextmanager
    def started(arm: Arm, *_: object) -> Iterator[Any]:
        process = SimpleNamespace(pid=1)
        server = SimpleNamespace(title=arm.title, process=process)
        yield SimpleNamespace(server=server, url="", listens_s=1.0, first_answer_s=2.0)

    def put_under(target: Target, cell: Cell, rate: float | None, *of: Any) -> Requests:
        server: Any = target.server
        *_, in_front = of
        assert len(in_front) == cell.requests
        found.append(Asked(server.title, target.url, rate, {*in_front}))
        return requests()

    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)
    monkeypatch.setattr(bench, "started", started)
    monkeypatch.setattr(bench, "put_under", put_under)
    monkeypatch.setattr(bench, "side", lambda url, ours: f"{url}/{'ours' if ours else 'stock'}")
    monkeypatch.setattr(bench, "_memory", lambda _: MEMORY)
    monkeypatch.setattr(bench, "control_tokens", lambda _, prompts, __: [1] * len(prompts))
    return found


def run(folder: Path, **own: Any) -> bench.Bench:
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    categories = (Category(name="safety", token="<|refuse|>"),)
    Manifest(respond_token=None, categories=categories).save(checkpoint)
    prompts = checkpoint / TEST_PROMPTS
    prompts.parent.mkdir(exist_ok=True)
    prompts.write_text(json.dumps(RECORD) + "\n")
    options = Options(
        Load(concurrency=(8,), shares=(0.5,)),
        ("a", "b"),
        repetitions=1,
        checkpoint=checkpoint,
        output=folder / "bench",
        **own,
    )
    made = bench.Bench(options, folder / "logs")
    made.run()
    return made


def test_every_arm_has_its_own_server(asked: list[Asked], tmp_path: Path) -> None:
    found = run(tmp_path).journal.first(Saturation)
    assert found is not None
    servers = [ARMS["a"].title] * 2 + [ARMS[arm].title for arm in "aaaabbbb"]
    assert [load.title for load in asked] == servers
    assert [load.rate for load in asked if load.rate] == [0.5 * found.requests_per_s] * 2


def test_the_control_token_is_in_front_of_stocks_answers_alone(
    asked: list[Asked], tmp_path: Path
) -> None:
    run(tmp_path)
    assert {load.title: load.in_front for load in asked} == {
        ARMS["a"].title: {1},
        ARMS["b"].title: {0},
    }


def test_a_server_that_is_all_arms_has_two_sides(asked: list[Asked], tmp_path: Path) -> None:
    """That of the saturation, too."""
    run(tmp_path, shared=True)
    assert {load.title for load in asked} == {bench.SHARED.title}
    assert [load.url for load in asked[:2]] == ["/stock", "/stock"]
    assert {load.url for load in asked[2:]} == {"/stock", "/ours"}
