import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, float | None]]:
    """Server's title, path, and rate of every load; servers and loads are not what is tested."""
    found: list[tuple[str, str, float | None]] = []

    @contextmanager
    def started(arm: Arm, *_: object) -> Iterator[Any]:
        process = SimpleNamespace(pid=1)
        server = SimpleNamespace(title=arm.title, process=process)
        yield SimpleNamespace(server=server, url="", listens_s=1.0, first_answer_s=2.0)

    def put_under(target: Target, _: Cell, rate: float | None, *__: object) -> Requests:
        server: Any = target.server
        found.append((server.title, target.url, rate))
        return requests()

    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)
    monkeypatch.setattr(bench, "started", started)
    monkeypatch.setattr(bench, "put_under", put_under)
    monkeypatch.setattr(bench, "side", lambda url, ours: f"{url}/{'ours' if ours else 'stock'}")
    monkeypatch.setattr(bench, "_memory", lambda _: MEMORY)
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


def test_every_arm_has_its_own_server(
    asked: list[tuple[str, str, float | None]], tmp_path: Path
) -> None:
    found = run(tmp_path).journal.first(Saturation)
    assert found is not None
    servers = [ARMS["a"].title] * 2 + [ARMS[arm].title for arm in "aaaabbbb"]
    assert [title for title, _, _ in asked] == servers
    assert [rate for _, _, rate in asked if rate] == [0.5 * found.requests_per_s] * 2


def test_a_server_that_is_all_arms_has_two_sides(
    asked: list[tuple[str, str, float | None]], tmp_path: Path
) -> None:
    """That of the saturation, too."""
    run(tmp_path, shared=True)
    assert {title for title, _, _ in asked} == {bench.SHARED.title}
    assert [path for _, path, _ in asked[:2]] == ["/stock", "/stock"]
    assert {path for _, path, _ in asked[2:]} == {"/stock", "/ours"}
