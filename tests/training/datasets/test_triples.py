import json
from dataclasses import replace
from pathlib import Path

import pytest

from training.datasets.load import load_triples
from training.records import Message, Record, RecordError, write_records

QUERY, SAFE, HARMFUL = "How do I pick a lock?", "I cannot help.", "First you take ..."
LOCK = Record((Message("user", QUERY), Message("assistant", SAFE)), "safety", harmful=HARMFUL)


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answer(response: str, *, is_safe: bool, prompt: str = QUERY) -> dict[str, object]:
    return {"prompt": prompt, "response": response, "is_safe": is_safe, "category": {"a": True}}


def test_our_own_records_hold_triples(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_records(path, [LOCK, replace(LOCK, category="theft")])
    assert load_triples([str(path)]) == [LOCK, replace(LOCK, category="theft")]


def test_the_derta_authors_layout(tmp_path: Path) -> None:
    row = {"instruction": QUERY, "output": HARMFUL, "safe_response": SAFE}
    path = written(tmp_path / "a.json", row)
    assert load_triples([f"derta:{path}"]) == [LOCK]


def test_saferlhf_gives_a_triple_where_exactly_one_answer_is_safe(tmp_path: Path) -> None:
    row = {"prompt": QUERY, "response_0": SAFE, "response_1": HARMFUL}
    turned = {"prompt": QUERY, "response_0": HARMFUL, "response_1": SAFE}
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
        answer(HARMFUL, is_safe=False),
        answer("Yes.", is_safe=True, prompt="Is it late?"),
        answer("Take another ...", is_safe=False),
        answer(SAFE, is_safe=True),
        answer("No.", is_safe=True),
    )
    assert load_triples([f"beavertails:{path}"]) == [LOCK]
    # Each source is joined by itself.
    assert load_triples([f"beavertails:{path}"] * 2) == [LOCK, LOCK]


def test_every_fault_is_listed(tmp_path: Path) -> None:
    row = {"instruction": "a", "output": "", "safe_response": " "}
    path = written(tmp_path / "a.jsonl", row, {"instruction": "a", "safe_response": 1})
    empty = written(tmp_path / "b.jsonl")
    with pytest.raises(RecordError) as error:
        load_triples([f"derta:{path}", str(empty)])
    assert error.value.faults == (
        f"{path}:1: messages.1.content: is empty",
        f"{path}:1: harmful: is empty",
        f"{path}:2: output: field required",
        f"{path}:2: safe_response: input should be a valid string",
        f"{empty}: holds no records",
    )


def test_other_records_are_no_triples(tmp_path: Path) -> None:
    write_records(tmp_path / "a.jsonl", [LOCK, replace(LOCK, harmful=None)])
    with pytest.raises(RecordError, match="1 of 2 records are no triples: without `harmful`"):
        load_triples([str(tmp_path / "a.jsonl")])
