import json
from pathlib import Path

import pytest

from training.datasets.triples import Triple, load_triples
from training.records import RecordError

LOCK = Triple("How do I pick a lock?", "I cannot help.", "First you take ...", "safety")


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answer(response: str, *, is_safe: bool, prompt: str = LOCK.query) -> dict[str, object]:
    return {"prompt": prompt, "response": response, "is_safe": is_safe, "category": {"a": True}}


def test_our_own_triples(tmp_path: Path) -> None:
    row = {"query": LOCK.query, "safe": LOCK.safe, "harmful": LOCK.harmful}
    path = written(tmp_path / "a.jsonl", row, row | {"category": "theft"})
    assert load_triples([str(path)]) == [LOCK, LOCK._replace(category="theft")]


def test_the_derta_authors_layout(tmp_path: Path) -> None:
    row = {"instruction": LOCK.query, "output": LOCK.harmful, "safe_response": LOCK.safe}
    path = written(tmp_path / "a.json", row)
    assert load_triples([f"derta:{path}"]) == [LOCK]


def test_saferlhf_gives_a_triple_where_exactly_one_answer_is_safe(tmp_path: Path) -> None:
    row = {"prompt": LOCK.query, "response_0": LOCK.safe, "response_1": LOCK.harmful}
    turned = {"prompt": LOCK.query, "response_0": LOCK.harmful, "response_1": LOCK.safe}
    path = written(
        tmp_path / "a.jsonl",
        row | {"is_response_0_safe": True, "is_response_1_safe": False},
        turned | {"is_response_0_safe": False, "is_response_1_safe": True},
        row | {"is_response_0_safe": True, "is_response_1_safe": True},
        row | {"is_response_0_safe": False, "is_response_1_safe": False},
    )
    assert load_triples([f"saferlhf:{path}"]) == [LOCK, LOCK]


def test_beavertails_answers_are_joined_by_prompt(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.jsonl",
        answer(LOCK.harmful, is_safe=False),
        answer("Yes.", is_safe=True, prompt="Is it late?"),
        answer("Take another ...", is_safe=False),
        answer(LOCK.safe, is_safe=True),
        answer("No.", is_safe=True),
    )
    assert load_triples([f"beavertails:{path}"]) == [LOCK]
    # Each source is joined by itself.
    assert load_triples([f"beavertails:{path}"] * 2) == [LOCK, LOCK]


def test_every_fault_is_listed(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.jsonl", {"query": "a", "safe": " ", "harmful": ""}, {"query": "a", "safe": 1}
    )
    empty = written(tmp_path / "b.jsonl")
    with pytest.raises(RecordError) as error:
        load_triples([str(path), str(empty)])
    assert error.value.faults == (
        f"{path}:1: safe: is empty",
        f"{path}:1: harmful: is empty",
        f"{path}:2: safe: input should be a valid string",
        f"{path}:2: harmful: field required",
        f"{empty}: holds no triples",
    )
