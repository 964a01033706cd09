import json
from pathlib import Path
from typing import Any

import pytest

from steering.manifest import MANIFEST_FILE, Calibration, Category, Manifest, ManifestError

CATEGORIES = (
    Category(name="safety", token="<|refuse:safety|>", description="Harm."),
    Category(name="temporal", token="<|refuse:temporal|>"),
)
MANIFEST = Manifest(respond_token="<|respond|>", categories=CATEGORIES)


def write(folder: Path, **changes: Any) -> Path:
    plain = json.loads(MANIFEST.model_dump_json()) | changes
    (folder / MANIFEST_FILE).write_text(json.dumps(plain))
    return folder


def test_survives_saving_and_loading(tmp_path: Path) -> None:
    calibrated = MANIFEST.model_copy(
        update={
            "calibration": Calibration(
                engine="transformers", dtype="float32", prompts={}, shapes={"tools": 2, "plain": 1}
            )
        }
    )
    calibrated.save(tmp_path)
    assert Manifest.load(tmp_path) == calibrated
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_FILE]


def test_a_calibration_from_before_shapes_were_counted_still_loads(tmp_path: Path) -> None:
    older = {"engine": "transformers", "dtype": "float32", "prompts": {"safety": 3}}
    calibration = Manifest.load(write(tmp_path, calibration=older)).calibration
    assert calibration is not None
    assert calibration.shapes is None


def test_keeps_the_order_of_the_file() -> None:
    assert MANIFEST.names == ("safety", "temporal")
    assert MANIFEST.tokens == ("<|respond|>", "<|refuse:safety|>", "<|refuse:temporal|>")


def test_a_respond_token_may_be_missing() -> None:
    manifest = MANIFEST.model_copy(update={"respond_token": None})
    assert manifest.tokens == ("<|refuse:safety|>", "<|refuse:temporal|>")


def test_says_whether_the_model_writes_refusals(tmp_path: Path) -> None:
    plain = json.loads(MANIFEST.model_dump_json())
    del plain["refusal_texts"]
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(plain))
    assert Manifest.load(tmp_path).writes_refusals
    assert not Manifest.load(write(tmp_path, refusal_texts=["template"])).writes_refusals


def test_names_the_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=rf"{tmp_path}.*refusal\.json.*demur-train"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"format_version": 2}, "format_version"),
        ({"categories": []}, "categories"),
        ({"categories": [{"name": "Safety!", "token": "<|a|>"}]}, "categories.0.name"),
        ({"categories": [{"name": "safety"}]}, "categories.0.token"),
        ({"scopes": ["somewhere"]}, "scopes"),
        ({"refusal_texts": ["both"]}, "refusal_texts.0"),
        ({"refusal_texts": ["generated"]}, "must hold 'template'"),
        ({"colour": "blue"}, "colour"),
        ({"categories": [{"name": "a", "token": "<|a|>"}] * 2}, "'a' is listed twice"),
        ({"respond_token": "<|refuse:safety|>"}, "'<|refuse:safety|>' is listed twice"),
    ],
)
def test_names_what_is_wrong(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.load(write(tmp_path, **changes))
    assert fault in str(caught.value)
    assert MANIFEST_FILE in str(caught.value)


def test_reports_what_is_not_json(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_text("{")
    with pytest.raises(ManifestError, match="not a valid manifest"):
        Manifest.load(tmp_path)


def test_reports_what_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(ManifestError, match="cannot be read"):
        Manifest.load(tmp_path)
