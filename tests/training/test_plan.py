import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback, TrainerState

from tests.families import base_config, write_base
from tests.training.conftest import measured
from training.bases import load_base, load_tokenizer
from training.config import AdapterConfig, MethodsConfig, Recipe, SftConfig
from training.control_tokens import add_control_tokens
from training.encoding import Example
from training.memory import GIB, QUANTIZED_BYTES, Sizes, estimate
from training.plan import memory_of, outline_of, plan, sizes_of, table, work_of
from training.recipes import override
from training.run import train

SIZES = Sizes(
    parameters=1000, trained=100, quantized=600, layers=3, hidden=10, intermediate=20, vocabulary=50
)


class Probe(TrainerCallback):
    """Notes the number of steps, and the bytes of what AdamW's first step leaves behind."""

    def __init__(self) -> None:
        self.steps = 0
        self.gradients = 0
        self.bytes: dict[str, int] = {}

    def on_pre_optimizer_step(self, *_: Any, **given: Any) -> None:
        self.gradients = sum(
            weight.grad.nbytes for weight in given["model"].parameters() if weight.grad is not None
        )

    def on_step_end(self, *event: Any, **given: Any) -> None:
        state: TrainerState = event[1]
        self.steps = state.max_steps
        moments = [
            value
            for entry in given["optimizer"].state.values()
            for value in entry.values()
            if torch.is_tensor(value) and value.dim()
        ]
        self.bytes = {
            "weights": sum(weight.nbytes for weight in given["model"].parameters()),
            "gradients": self.gradients,
            "optimiser": sum(moment.nbytes for moment in moments),
        }


def test_the_formula_by_hand() -> None:
    memory = estimate(
        SIZES,
        weight_bytes=2,
        trained_bytes=4,
        activation_bytes=2,
        tokens=7,
        logit_tokens=5,
        checkpointing=False,
    )
    assert memory.weights == 300 * 2 + 100 * 4 + 600 * QUANTIZED_BYTES
    assert memory.gradients == 100 * 4
    assert memory.optimiser == 100 * 8
    assert memory.activations == 7 * 3 * (8 * 10 + 4 * 20) * 2
    assert memory.logits == 3 * 5 * 50 * 4
    assert memory.total == sum(
        getattr(memory, name)
        for name in ("weights", "gradients", "optimiser", "activations", "logits")
    )


def test_sharding_and_checkpointing_save_what_they_should() -> None:
    common: dict[str, Any] = {
        "weight_bytes": 4,
        "trained_bytes": 4,
        "activation_bytes": 4,
        "tokens": 7,
        "logit_tokens": 0,
    }
    whole = estimate(SIZES, checkpointing=False, **common)
    shared = estimate(SIZES, checkpointing=True, shards=4, **common)
    for name in ("weights", "gradients", "optimiser"):
        assert getattr(shared, name) == getattr(whole, name) / 4
    assert shared.activations == 7 * (3 * 10 + 8 * 10 + 4 * 20) * 4
    assert shared.activations < whole.activations


@pytest.mark.parametrize("epochs", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(("batch_size", "accumulation"), [(8, 1), (7, 2), (64, 3), (500, 1)])
def test_steps_are_the_trainers(
    epochs: float, batch_size: int, accumulation: int, recipe: Recipe, tmp_path: Path
) -> None:
    class Enough(TrainerCallback):
        steps = 0

        def on_train_begin(self, *event: Any, **_: Any) -> None:
            Enough.steps = event[1].max_steps
            raise KeyboardInterrupt

    sft = recipe.sft.model_copy(
        update={"epochs": epochs, "batch_size": batch_size, "gradient_accumulation": accumulation}
    )
    with pytest.raises(KeyboardInterrupt):
        train(recipe.model_copy(update={"sft": sft}), tmp_path / "out", callbacks=[Enough()])
    examples = [Example([1, 2], [-100, 2])] * len(recipe.data(0).train)
    assert work_of(examples, sft, processes=1).steps == Enough.steps


def test_work_by_hand() -> None:
    examples = [Example([1, 2, 3], [-100, 2, 3]), Example([4], [4])] * 5
    config = SftConfig(epochs=2, batch_size=2, gradient_accumulation=2)
    work = work_of(examples, config, processes=2)
    # 10 examples are 5 batches, 3 for each of two processes, 2 steps an epoch.
    assert (work.examples, work.steps, work.batch) == (10, 4, 8)
    assert (work.tokens, work.learnt, work.longest) == (40, 30, 3)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_exact_terms_are_what_training_holds(
    method: str, tied: bool, recipe: Recipe, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base", "llama", tied=tied)
    adapter = AdapterConfig.model_validate({"method": method, "rank": 4})
    chosen = recipe.model_copy(
        update={
            "model": base_config(base, "llama"),
            "adapter": adapter,
            "sft": SftConfig(epochs=0.1, batch_size=8),
        }
    )
    probe = Probe()
    train(chosen, tmp_path / "out", callbacks=[probe])
    splits = recipe.data(0)
    model, tokenizer = outline_of(chosen, splits)
    sizes = sizes_of(model, chosen, splits.manifest, tokenizer)
    examples = [Example([1] * 9, [1] * 9)] * len(splits.train)
    work = work_of(examples, chosen.sft, processes=1)
    memory = memory_of(chosen, sizes, work, shards=1)
    for name, held in probe.bytes.items():
        assert getattr(memory, name) == held, name
    assert probe.steps == work.steps


def test_the_outline_is_the_start(recipe: Recipe, tmp_path: Path) -> None:
    config = base_config(write_base(tmp_path / "base", "qwen"), "qwen")
    model, tokenizer = load_base(config), load_tokenizer(config)
    add_control_tokens(model, tokenizer, recipe.data(0).manifest, config.pad_vocabulary_to)
    lines = "\n".join(plan(recipe.model_copy(update={"model": config})))
    assert f"parameters  {model.num_parameters():,}, of which" in lines


def test_a_plan_names_everything_and_writes_nothing(recipe: Recipe, tmp_path: Path) -> None:
    config = base_config(
        write_base(tmp_path / "base", "llama"),
        "llama",
        reserved_tokens="<|reserved_special_token_{}|>",
    )
    before = sorted(tmp_path.rglob("*"))
    chosen = recipe.model_copy(
        update={"model": config, "adapter": AdapterConfig(method="qlora", rank=4)}
    )
    lines = list(plan(chosen))
    records = len(recipe.data(0).train)
    steps = 10 * math.ceil(records / 8)
    assert lines[0] == "recipe      toy: for tests"
    assert any(line.startswith(f"records     {records} to train, ") for line in lines)
    assert "categories  safety, temporal" in lines
    assert f"steps       {steps:,} of 8 examples, with 1 process" in lines
    assert sorted(tmp_path.rglob("*")) == before


def test_a_frozen_base_is_read_once(recipe: Recipe, tmp_path: Path) -> None:
    base = base_config(write_base(tmp_path / "base", "llama"), "llama")
    frozen = {"model": base, "adapter": AdapterConfig(method="frozen")}
    methods = MethodsConfig(respond_token=False)
    chosen = recipe.model_copy(update={**frozen, "methods": methods})
    lines = list(plan(chosen))
    prompts = len(recipe.data(0).train)
    assert f"pass        {prompts} prompts through the base once; no step is trained" in lines
    # Two tokens more in both embeddings, 128 wide.
    parameters = load_base(base).num_parameters() + 2 * 2 * 128
    assert lines[-1] == f"parameters  {parameters:,}, of which 2 rows are fitted"


def test_the_table_shows_gibibytes() -> None:
    memory = estimate(
        SIZES,
        weight_bytes=GIB,
        trained_bytes=GIB,
        activation_bytes=2,
        tokens=1,
        logit_tokens=0,
        checkpointing=False,
    )
    lines = list(table({1: memory, 2: memory}))
    assert lines[0].split() == ["1", "device", "2", "devices"]
    assert lines[1].split() == ["weights", "400.00", "400.00"]
    assert len(lines) == 7


def test_a_plan_counts_what_is_trained_on(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="training")
    chosen = measured(recipe)
    lines = list(plan(chosen))
    splits = chosen.data(0)
    triples = sum(record.harmful is not None for record in splits.train)
    assert f"triples     {triples} of those to train" in lines
    probe = Probe()
    train(chosen, tmp_path / "out", callbacks=[probe])
    (count,) = (
        message.split()[-2]
        for message in caplog.messages
        if message.startswith("Training") and message.endswith("examples.")
    )
    assert any(line.startswith(f"examples    {count}, the longest of ") for line in lines)
    assert any(line.startswith("held out    ") for line in lines)
    assert f"steps       {probe.steps} of 8 examples, with 1 process" in lines


def test_methods_change_the_plan(recipe: Recipe) -> None:
    def examples(*settings: str) -> int:
        (line,) = (line for line in plan(override(measured(recipe), settings)) if "longest" in line)
        return int(line.split()[1].rstrip(","))

    both = examples()
    assert examples("methods.triples=safety") < both
    assert examples("methods.triples_ratio=1") > both
    assert examples("methods.refusal_ratio=0.5") < both


def test_packed_examples_make_fewer_rows() -> None:
    examples = [Example([1, 2, 3], [-100, 2, 3]), Example([4], [4])] * 6
    config = SftConfig(epochs=1, batch_size=2, max_length=8, batching="packed")
    work = work_of(examples, config, processes=1)
    # 24 tokens fit into 3 rows of 8.
    assert (work.examples, work.rows, work.longest) == (12, 3, 8)
    assert (work.steps, work.tokens) == (2, 24)
