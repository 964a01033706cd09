import importlib.util
from pathlib import Path
from typing import cast

import pytest
import torch
from peft import PeftModel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from steering.manifest import Manifest
from steering.tokens import ControlTokens
from tests.families import FAMILIES, write_checkpoint
from training import trainer
from training.adapters import (
    AdapterError,
    adapter_state,
    attach,
    merge,
    quantization,
    token_rows,
    upper_layers,
)
from training.config import AdapterConfig, SftConfig
from training.control_tokens import embedding_matrices
from training.encoding import Encoder
from training.examples import Examples
from training.loading import control_tokens, load
from training.records import Record
from training.sft import fit

CONFIG = AdapterConfig(method="lora", rank=4, alpha=8)
Parts = tuple[PreTrainedModel, PreTrainedTokenizerBase, ControlTokens]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(folder: Path, family: str, tied: bool, manifest: Manifest) -> Parts:
    if not folder.exists():
        write_checkpoint(folder, family, manifest, tied=tied)
    model, tokenizer = load(folder, device=torch.device("cpu"))
    return model, tokenizer, control_tokens(manifest, tokenizer)


def trained(
    parts: Parts, records: list[Record], manifest: Manifest, saves: Path
) -> tuple[PeftModel, dict[str, torch.Tensor]]:
    """A few steps, large enough to move every weight that is trained."""
    model, tokenizer, control = parts
    adapted = attach(model, control, CONFIG, seed=0)
    examples = [*map(Encoder(tokenizer, control, manifest.names, 64).encode, records[:24])]
    config = SftConfig(epochs=1, batch_size=8, learning_rate=1e-2, log_every=1)
    state = fit(
        cast(PreTrainedModel, adapted),
        tokenizer,
        Examples(examples, None),
        config,
        seed=0,
        saves=saves,
        metrics=saves.with_suffix(".jsonl"),
    )
    return adapted, state


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=torch.arange(5, 45)[None]).logits
    return found


def test_a_new_adapter_changes_nothing(tmp_path: Path, manifest: Manifest, tied: bool) -> None:
    model, _, control = start(tmp_path / "base", "llama", tied, manifest)
    before = logits(model)
    torch.testing.assert_close(logits(attach(model, control, CONFIG, seed=0)), before)


def test_the_merged_model_computes_what_the_adapted_one_does(
    family: str, tied: bool, manifest: Manifest, records: list[Record], tmp_path: Path
) -> None:
    parts = start(tmp_path / "base", family, tied, manifest)
    control = parts[2]
    untrained = logits(parts[0])
    adapted, state = trained(parts, records, manifest, tmp_path / "saves")
    expected = logits(adapted)
    base, _, _ = start(tmp_path / "base", family, tied, manifest)
    torch.testing.assert_close(logits(base), untrained)
    before = [matrix.clone() for matrix in embedding_matrices(base)]
    merged = merge(base, control, CONFIG, adapter_state(adapted, state))
    assert type(merged) is type(base)
    assert not any("lora" in name or "token_adapter" in name for name in merged.state_dict())
    torch.testing.assert_close(logits(merged), expected, rtol=1e-4, atol=1e-4)
    assert (expected - untrained).abs().max() > 0.1
    after = embedding_matrices(merged)
    assert len(after) == (1 if tied else 2)
    # Of the embeddings the control tokens' rows have moved, at both ends, and no others.
    for old, new in zip(before, after, strict=True):
        moved = (old != new).any(dim=1).nonzero().flatten().tolist()
        assert moved == sorted(control.ids)


def test_the_output_rows_learn_by_trls_own_loss_too(
    tied: bool,
    manifest: Manifest,
    records: list[Record],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = []
    for vocabulary in (2**15, 0):
        monkeypatch.setattr(trainer, "SMALL_VOCABULARY", vocabulary)
        parts = start(tmp_path / f"base{vocabulary}", "llama", tied, manifest)
        adapted, state = trained(parts, records, manifest, tmp_path / f"saves{vocabulary}")
        runs.append(adapter_state(adapted, state))
    rows = [name for name in runs[0] if "trainable_tokens_delta" in name]
    assert len(rows) == (1 if tied else 2)
    for name in runs[0]:
        torch.testing.assert_close(runs[0][name], runs[1][name], rtol=1e-2, atol=1e-4)


def test_the_seed_alone_draws_the_first_weights(tmp_path: Path, manifest: Manifest) -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.rand(3)
        model, _, control = start(tmp_path / "base", "qwen", True, manifest)
        adapted = attach(model, control, CONFIG, seed)
        drawn.append(adapter_state(adapted, adapted.state_dict()))
    name = next(name for name in drawn[0] if "lora_A" in name)
    assert torch.equal(drawn[0][name], drawn[1][name])
    assert not torch.equal(drawn[0][name], drawn[2][name])


def test_targets_choose_the_layers(tmp_path: Path, manifest: Manifest) -> None:
    model, _, control = start(tmp_path / "base", "mistral", False, manifest)
    some = CONFIG.model_copy(update={"targets": "q_proj,v_proj"})
    adapted = attach(model, control, some, seed=0)
    names = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert {name.split(".")[-4] for name in names if "lora" in name} == {"q_proj", "v_proj"}
    model, _, control = start(tmp_path / "base", "mistral", False, manifest)
    with pytest.raises(AdapterError, match=r"adapter\.targets 'query': "):
        attach(model, control, CONFIG.model_copy(update={"targets": "query"}), seed=0)


@pytest.mark.parametrize("targets", ["all-linear", "q_proj,v_proj"])
def test_the_upper_layers_can_be_updated_alone(
    targets: str, tied: bool, tmp_path: Path, manifest: Manifest
) -> None:
    """Then the layers below them need no gradients, unless token rows are trained."""
    changes = {"upper_share": 0.5, "token_rows": False, "targets": targets}
    model, _, control = start(tmp_path / "base", "llama", tied, manifest)
    adapted = attach(model, control, CONFIG.model_copy(update=changes), seed=0)
    trained = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    # The second of the base's two layers.
    assert all(".layers.1." in name for name in trained)
    linear = {name.split(".")[-4] for name in trained}
    assert linear == (
        {"q_proj", "v_proj"}
        if targets != "all-linear"
        else {f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down")}
    )


@pytest.mark.parametrize(
    ("share", "expected"),
    [(1.0, None), (0.5, [2, 3]), (0.6, [2, 3]), (0.75, [1, 2, 3]), (0.01, [3])],
)
def test_the_share_of_layers_is_counted_from_the_output(
    share: float, expected: list[int] | None
) -> None:
    model = LlamaForCausalLM(  # type: ignore[no-untyped-call]
        LlamaConfig(
            vocab_size=8,
            hidden_size=4,
            intermediate_size=4,
            num_hidden_layers=4,
            num_attention_heads=1,
        )
    )
    assert upper_layers(model, share) == expected


def test_a_bias_of_the_output_embeddings_is_refused() -> None:
    model = LlamaForCausalLM(  # type: ignore[no-untyped-call]
        LlamaConfig(vocab_size=8, hidden_size=4, num_hidden_layers=0, num_attention_heads=1)
    )
    model.lm_head = torch.nn.Linear(4, 8)
    with pytest.raises(AdapterError, match="output embeddings have a bias"):
        token_rows(model, ControlTokens(None, (3,)))


def test_an_adapter_of_no_numbers_is_not_merged(tmp_path: Path, manifest: Manifest) -> None:
    model, _, control = start(tmp_path / "base", "llama", True, manifest)
    adapted = attach(model, control, CONFIG, seed=0)
    broken = {
        name: weight * float("nan")
        for name, weight in adapter_state(adapted, adapted.state_dict()).items()
    }
    base, _, _ = start(tmp_path / "base", "llama", True, manifest)
    with pytest.raises(AdapterError, match="cannot be merged: NaNs detected"):
        merge(base, control, CONFIG, broken)


def test_quantization_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(AdapterError, match="'qlora' needs a CUDA GPU, and there is none"):
            quantization()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(AdapterError, match="pip install bitsandbytes"):
        quantization()


def test_updates_of_the_upper_layers_alone_take_no_gradient_below(
    tmp_path: Path, family: str, manifest: Manifest
) -> None:
    model, _, control = start(tmp_path / "start", family, True, manifest)
    layers = model.config.get_text_config().num_hidden_layers
    config = CONFIG.model_copy(update={"upper_share": 0.5, "token_rows": False})
    adapted = attach(model, control, config, seed=0)
    wanted = upper_layers(model, 0.5)
    assert wanted == list(range(layers - max(round(layers / 2), 1), layers))
    trained = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert trained
    assert {int(name.split(".layers.")[1].split(".")[0]) for name in trained} == set(wanted)
    output = adapted(input_ids=torch.tensor([[1, 2, 3]]), output_hidden_states=True)
    assert not output.hidden_states[wanted[0]].requires_grad


def test_no_share_updates_every_layer(tmp_path: Path, manifest: Manifest) -> None:
    model, _, _ = start(tmp_path / "start", "llama", True, manifest)
    assert upper_layers(model, 1.0) is None
