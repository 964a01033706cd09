import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.image import imread

from steering.manifest import Manifest
from tests.families import write_base
from tests.training.conftest import refuse_system_prompts
from training import cli
from training.check import read_splits, token_lengths
from training.datasets.statistics import characters, count
from training.encoding import Encoder
from training.loading import control_tokens, load
from training.records import Message, Record, RecordError, write_records


def exchange(
    prompt: str, answer: str = "Yes.", category: str | None = None, contrast_of: str | None = None
) -> Record:
    turns = (Message("user", prompt), Message("assistant", answer))
    return Record(turns, category, contrast_of)


TRAIN = [
    exchange("How do I pick a lock?", "No.", "safety"),
    exchange("how do i pick a lock", "No.", "safety"),
    exchange("How do I pick a colour?", contrast_of="safety"),
    exchange("What is a lock?"),
    exchange("Who am I?"),
]
TEST = [exchange("How do I pick a lock!", "No.", "safety"), exchange("who am I", "No.", "unknown")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_records(tmp_path / "train.jsonl", TRAIN)
    write_records(tmp_path / "test.jsonl", TEST)
    return tmp_path


def test_counts_by_hand() -> None:
    statistics = count({"train": TRAIN, "test": TEST}, characters, "characters")
    assert statistics.counts == {
        "train": {"safety": 2, "contrast: safety": 1, "comply": 2},
        "test": {"safety": 1, "unknown": 1},
    }
    assert statistics.labels == ["safety", "unknown", "contrast: safety", "comply"]
    assert statistics.contrast_share("train") == pytest.approx(1 / 3)
    assert statistics.contrast_share("test") is None
    assert statistics.lengths == {"train": [24, 23, 27, 19, 13], "test": [24, 11]}
    assert statistics.longer_than(23, "train") == 2
    assert [statistics.duplicates(name) for name in ("train", "test")] == [1, 0]
    leaked = statistics.leaks()["train", "test"]
    assert [prompt.prompt for prompt in leaked] == ["How do I pick a lock?", "Who am I?"]
    assert leaked[0].splits == {"train": 2, "test": 1}
    assert [prompt.labels for prompt in statistics.contradictions()] == [("comply", "unknown")]


def test_triples_are_counted_apart_and_by_their_longer_answer() -> None:
    told = replace(TRAIN[0], harmful="Take a pick.")
    statistics = count({"train": [*TRAIN, told]}, characters, "characters")
    assert statistics.counts["train"]["triple: safety"] == 1
    assert statistics.labels == ["safety", "contrast: safety", "triple: safety", "comply"]
    assert statistics.contrast_share("train") == pytest.approx(1 / 3)
    assert statistics.lengths["train"][-1] == len("How do I pick a lock?" + "Take a pick.")
    assert characters(replace(told, harmful="-")) == statistics.lengths["train"][0]


def test_the_table_and_the_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stem = folder / "pictures" / "v1.2"
    # 1: two prompts leak.
    assert cli.main(["check", str(folder), "--max-length", "23", "--picture", str(stem)]) == 1
    shown = capsys.readouterr().out
    rows = {tuple(line.split()) for line in shown.splitlines()}
    assert ("train", "test") in rows
    assert ("safety", "2", "1") in rows
    assert ("contrast:", "safety", "1", "0") in rows
    assert ("contrast", "share", "33.3%", "-") in rows
    assert ("median", "characters", "23", "18") in rows
    assert ("most", "characters", "27", "24") in rows
    assert ("longer", "than", "23", "2", "1") in rows
    assert ("repeated", "prompts", "1", "0") in rows
    assert "LEAKAGE: 2 prompts of train also in test\n  'How do I pick a lock?'" in shown
    assert "CONTRADICTION: 1 prompt with several labels\n  'Who am I?'" in shown
    assert imread(folder / "pictures" / "v1.2.png").shape[2] == 4
    assert (folder / "pictures" / "v1.2.svg").read_text().count("<svg") == 1


def test_a_split_may_be_empty(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "calibration.jsonl").touch()
    assert cli.main(["check", str(folder)]) == 1
    assert capsys.readouterr().out.splitlines()[0].split() == ["train", "test"]


def test_data_without_leakage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(folder / "train.jsonl")]) == 0
    assert "LEAKAGE" not in capsys.readouterr().out


def test_splits_are_named_or_found_in_a_folder(folder: Path) -> None:
    test = str(folder / "test.jsonl")
    assert read_splits([str(folder)]) == {"train": TRAIN, "test": TEST}
    assert read_splits([test]) == {"train": TEST}
    assert read_splits([f"calibration={test}", str(folder)]) == {
        "train": TRAIN,
        "calibration": TEST,
        "test": TEST,
    }


def test_every_fault_is_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "train.jsonl").write_text("nope\n{}\n")
    empty = folder / "empty"
    empty.mkdir()
    assert cli.main(["check", str(folder), str(empty)]) == 1
    said = capsys.readouterr().err
    assert f"{folder}/train.jsonl:1: invalid JSON" in said
    assert f"{folder}/train.jsonl:2: messages: field required" in said
    assert f"{empty}: holds none of train.jsonl, calibration.jsonl, test.jsonl" in said
    with pytest.raises(RecordError):
        read_splits([str(folder)])


def test_tokens_are_counted_as_training_encodes_them(finished: Path) -> None:
    _, tokenizer = load(finished)
    manifest = Manifest.load(finished)
    control = control_tokens(manifest, tokenizer)
    encoder = Encoder(tokenizer, control, manifest.names, max_length=1000)
    length = token_lengths(finished)
    for record in TRAIN:
        # The template's newline behind the end of the turn is not trained on, but counted here.
        assert length(record) - len(encoder.encode(record).input_ids) in (0, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "a.jsonl", "--max-length", "0"],
        ["convert", "a.jsonl", "--output", "b", "--limit", "-1"],
    ],
)
def test_numbers_begin_at_1(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert "is not a whole number from 1 on" in capsys.readouterr().err


def test_a_tokenizer_that_cannot_count_is_told(
    folder: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(tokenizer: Path) -> str:
        assert cli.main(["check", str(folder), "--tokenizer", str(tokenizer)]) == 1
        return capsys.readouterr().err

    bare, strict = write_base(tmp_path / "bare", "llama"), tmp_path / "strict"
    shutil.copytree(finished, strict)
    refuse_system_prompts(strict)
    turns = (Message("system", "Be brief."), *TRAIN[0].messages)
    write_records(folder / "test.jsonl", [Record(turns, "safety")])
    assert f"error: --tokenizer {folder / 'none'}: " in said(folder / "none")
    assert "error: the tokenizer has no chat template" in said(bare)
    assert "refuses a conversation of the roles system, user, assistant" in said(strict)


def test_convert_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "a.jsonl"
    rows = [{"instruction": f"Say {n}.", "output": f"{n}"} for n in range(40)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "out"
    assert cli.main(["convert", f"alpaca:{source}", "--output", str(output), "--limit", "20"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("comply"))
    counts = [int(number) for number in row.split()[1:]]
    assert sum(counts) == 20
    assert counts == [
        *(
            len((output / f"{name}.jsonl").read_text().splitlines())
            for name in ("train", "calibration", "test")
        ),
        0,
        0,
    ]
