import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from steering.refusal_templates import TEMPLATES_FILE, RefusalTemplates
from training.categories import COCONOT, DESCRIPTIONS, manifest_of
from training.data_sources import DataSources
from training.records import Record, RecordError, write_records


def test_sources_become_splits(records: list[Record], tmp_path: Path) -> None:
    paths = [tmp_path / f"{part}.jsonl" for part in ("one", "two", "held")]
    for path, part in zip(paths, (records[:3], records[3:5], records[5:9]), strict=True):
        write_records(path, part)
    data = DataSources(
        train=(str(paths[0]), str(paths[1])),
        calibration=(str(paths[2]),),
        categories=("temporal", "safety"),
        notice="For tests.",
    )
    splits = data(7)
    assert list(splits.train) == records[:5]
    assert list(splits.calibration) == records[5:9]
    assert splits.test == []
    assert splits.manifest.names == ("temporal", "safety")
    assert splits.manifest.notice == "For tests."


def test_the_faults_of_all_sources_are_told(records: list[Record], tmp_path: Path) -> None:
    write_records(tmp_path / "good.jsonl", records[:4])
    (tmp_path / "bad.jsonl").write_text('{"messages": []}\n')
    data = DataSources(
        train=(str(tmp_path / "good.jsonl"),),
        calibration=(str(tmp_path / "bad.jsonl"),),
        test=(str(tmp_path / "none.jsonl"),),
        categories=("safety",),
    )
    with pytest.raises(RecordError) as caught:
        data(0)
    faults = "\n".join(caught.value.faults)
    assert "good.jsonl:3: category: 'temporal' is unknown; known are safety" in faults
    assert "bad.jsonl:1: category: field required" in faults
    assert "none.jsonl: cannot be read" in faults


def test_triples_of_other_layouts_are_trained_on(tmp_path: Path) -> None:
    row = {"instruction": "steal", "output": "Take it.", "safe_response": "No."}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    splits = DataSources(train=(f"derta:{tmp_path / 'a.json'}",), categories=("safety",))(0)
    assert [record.harmful for record in splits.train] == ["Take it."]


@pytest.fixture
def one_record(records: list[Record], tmp_path: Path) -> str:
    write_records(tmp_path / "train.jsonl", records[:1])
    return str(tmp_path / "train.jsonl")


def test_a_file_of_templates_is_the_checkpoints(one_record: str, tmp_path: Path) -> None:
    templates = RefusalTemplates.of_texts("en", {"safety": "No."})
    templates.save(tmp_path)
    file = str(tmp_path / TEMPLATES_FILE)
    data = DataSources(train=(one_record,), categories=("safety",), templates=file)
    assert data(0).templates == templates
    assert data.model_copy(update={"templates": ""})(0).templates is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, "texts.yaml: cannot be read: No such file"),
        ("{", "texts.yaml: while parsing"),
        ("a: 1", "languages\n  Field required"),
        ("default: en\nlanguages: {en: {spying: No.}}", "'safety' has no text"),
    ],
)
def test_faulty_templates_are_told_with_the_other_faults(
    text: str | None, fault: str, one_record: str, tmp_path: Path
) -> None:
    file = tmp_path / "texts.yaml"
    if text is not None:
        file.write_text(text)
    data = DataSources(
        train=(one_record,), test=("none.jsonl",), categories=("safety",), templates=str(file)
    )
    with pytest.raises(RecordError, match=r"none\.jsonl: cannot be read") as caught:
        data(0)
    assert fault in str(caught.value)


def test_a_manifest_describes_the_categories_that_it_knows() -> None:
    manifest = manifest_of(["safety", "spying"])
    assert [category.description for category in manifest.categories] == [
        DESCRIPTIONS["safety"],
        "",
    ]
    assert manifest.tokens == ("<|respond|>", "<|refuse:safety|>", "<|refuse:spying|>")
    assert "temporal" not in COCONOT
    assert len(COCONOT) == 5
    with pytest.raises(ValidationError, match="category 'safety' is listed twice"):
        manifest_of(["safety", "safety"])
