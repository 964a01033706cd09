import json
from dataclasses import replace
from pathlib import Path

import pytest

from training.datasets.convert import REFUSALS, REPEATED, UNANSWERED, convert
from training.datasets.load import load_records
from training.datasets.split import SPLITS, folded, prompt_key, split_of
from training.records import Message, Record, RecordError


def asked(prompt: str) -> Record:
    return Record((Message("user", prompt),), None)


def coconot(path: Path, count: int, **fields: object) -> str:
    rows = ({"id": str(n), "prompt": f"Prompt {n}", "category": "safety"} for n in range(count))
    path.write_text("".join(json.dumps(row | fields) + "\n" for row in rows))
    return f"coconot:{path}"


def files(folder: Path) -> dict[str, list[Record]]:
    return {name: load_records([str(folder / f"{name}.jsonl")]) for name in SPLITS}


def test_the_split_never_changes() -> None:
    # From `sha256sum` over `user prompt 0` and so on: with another division, what was tested on
    # before would be trained on.
    assert [split_of(asked(f"Prompt {n}")) for n in range(6)] == [
        "train",
        "calibration",
        "train",
        "train",
        "test",
        "train",
    ]
    assert split_of(asked(" prompt: 3?!")) == split_of(asked("Prompt 3"))


def test_shares_are_about_as_asked() -> None:
    found = [split_of(asked(f"Prompt {n}")) for n in range(5000)]
    for name, share in [("train", 0.6), ("calibration", 0.2), ("test", 0.2)]:
        assert found.count(name) / 5000 == pytest.approx(share, abs=0.02)
    assert {split_of(asked(f"{n}"), {"train": 0, "test": 3}) for n in range(50)} == {"test"}


def test_folding_keeps_letters_and_digits_of_every_script() -> None:
    assert folded("  How's  the\nWEATHER, \uff12day?") == "how s the weather 2day"
    assert folded("Ünï ☂ 雨") == "ünï 雨"
    assert folded(" ?! ") == "?!"


def test_the_answer_does_not_count_as_prompt() -> None:
    answered = Record((Message("user", "Hi!"), Message("assistant", "Hello")), None)
    assert prompt_key(answered) == prompt_key(asked("hi"))
    system = Record((Message("system", "Be brief."), Message("user", "hi")), None)
    assert prompt_key(system) != prompt_key(asked("hi"))
    tool = {"type": "function", "function": {"name": "clock"}}
    assert prompt_key(replace(answered, tools=(tool,))) != prompt_key(answered)


def test_triples_stay_triples(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Prompt {n}", "output": "Take it.", "safe_response": "No."}
        for n in range(20)
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    counts = convert([f"derta:{tmp_path / 'a.json'}"], tmp_path / "out")
    assert sum(counts[name, "triple: safety"] for name in SPLITS) == 20
    found = [record for records in files(tmp_path / "out").values() for record in records]
    assert {(record.harmful, record.category) for record in found} == {("Take it.", "safety")}
    assert len(found) == 20


def test_unanswered_prompts_are_held_out_only(tmp_path: Path) -> None:
    source = coconot(tmp_path / "a.jsonl", 60)
    counts = convert([source], tmp_path / "out")
    assert counts["train", "safety"] == 0
    assert counts[UNANSWERED, "safety"] > 20
    assert sum(counts.values()) == 60
    assert (tmp_path / "out" / "train.jsonl").read_text() == ""
    held = load_records([str(tmp_path / "out" / f"{name}.jsonl") for name in SPLITS[1:]])
    assert len(held) == counts["calibration", "safety"] + counts["test", "safety"]
    assert all(record.category == "safety" for record in held)


def test_filled_refusals_can_be_trained(tmp_path: Path) -> None:
    counts = convert([coconot(tmp_path / "a.jsonl", 60)], tmp_path / "out", fill=True)
    splits = files(tmp_path / "out")
    assert {name: len(records) for name, records in splits.items()} == {
        name: counts[name, "safety"] for name in SPLITS
    }
    assert sum(map(len, splits.values())) == 60
    for name, records in splits.items():
        for record in records:
            assert record.messages[-1] == Message("assistant", REFUSALS["safety"])
            assert split_of(record) == name


def test_harmless_prompts_are_never_given_a_refusal(tmp_path: Path) -> None:
    harmless = {"category": None, "contrast_of": "safety"}
    counts = convert([coconot(tmp_path / "a.jsonl", 20, **harmless)], tmp_path / "out", fill=True)
    assert counts["train", "contrast: safety"] == 0
    assert counts[UNANSWERED, "contrast: safety"] > 0


def test_a_prompt_that_comes_again_is_left_out(tmp_path: Path) -> None:
    source = coconot(tmp_path / "a.jsonl", 30)
    again = coconot(tmp_path / "b.jsonl", 10, category="incomplete")
    counts = convert([source, again], tmp_path / "out", fill=True)
    assert counts[REPEATED, "incomplete"] == 10
    assert sum(len(records) for records in files(tmp_path / "out").values()) == 30


def test_a_prompt_without_an_answer_makes_way_for_one_with(tmp_path: Path) -> None:
    sources = [
        coconot(tmp_path / "a.jsonl", 30),
        coconot(tmp_path / "b.jsonl", 30, response="I cannot help with that."),
    ]
    counts = convert(sources, tmp_path / "out")
    found = files(tmp_path / "out")
    # Every prompt once: the answered ones in train, where the others came to nothing.
    assert sum(map(len, found.values())) == 30
    assert counts["train", "safety"] == len(found["train"]) == counts[UNANSWERED, "safety"] > 0
    assert counts[REPEATED, "safety"] == 30 - counts["train", "safety"]


def test_faults_leave_the_files_of_before(tmp_path: Path) -> None:
    source, output = coconot(tmp_path / "a.jsonl", 60), tmp_path / "out"
    convert([source], output)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    faulty = coconot(tmp_path / "b.jsonl", 2, category="rude")
    with pytest.raises(RecordError, match=r"2 faults(.|\n)*b.jsonl:1(.|\n)*b.jsonl:2"):
        convert([source, faulty], output, fill=True)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
