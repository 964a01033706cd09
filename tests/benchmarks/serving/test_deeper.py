from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config

from benchmarks.serving.deeper import deepen
from steering.fingerprint import fingerprint, verify
from steering.manifest import SCORES_FILE, Calibration, Category, Manifest
from tests.families import FAMILIES, write_checkpoint

TEXT = "Yes, sure. Here is the answer."
MANIFEST = Manifest(
    respond_token="<|respond|>",
    categories=(Category(name="safety", token="<|refuse:safety|>"),),
)


def logits(checkpoint: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    with torch.no_grad():
        found: torch.Tensor = model(**tokenizer(TEXT, return_tensors="pt")).logits
    return found


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_deeper_copy_writes_the_same(family: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model", family, MANIFEST)
    weights = fingerprint(checkpoint)
    calibration = Calibration(
        engine="transformers", dtype="float32", prompts={"safety": 1}, weights=weights
    )
    MANIFEST.model_copy(update={"calibration": calibration}).save(checkpoint)
    (checkpoint / SCORES_FILE).parent.mkdir()
    (checkpoint / SCORES_FILE).write_bytes(b"scores")
    deeper = deepen(checkpoint, 5, tmp_path / "deeper")
    assert AutoModelForCausalLM.from_pretrained(deeper).config.num_hidden_layers == 5
    assert torch.equal(logits(deeper), logits(checkpoint))
    assert fingerprint(deeper) != weights
    verify(deeper, Manifest.load(deeper))
    assert files(checkpoint) <= files(deeper)


def test_what_lay_there_is_replaced(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model", "llama", MANIFEST)
    deepen(checkpoint, 4, tmp_path / "deeper")
    deepen(checkpoint, 3, tmp_path / "deeper")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "deeper")
    assert len(model.model.layers) == model.config.num_hidden_layers == 3


def test_a_copy_with_fewer_layers_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model", "llama", MANIFEST)
    with pytest.raises(ValueError, match="has 2 layers: 2 are not more"):
        deepen(checkpoint, 2, tmp_path / "deeper")


def test_layers_that_cannot_be_silenced_are_refused(tmp_path: Path) -> None:
    config = GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=16, n_positions=8)
    config.bos_token_id = config.eos_token_id = 0
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="GPT2"):
        deepen(tmp_path / "model", 3, tmp_path / "deeper")
