"""What training starts from: rows fitted, answers written, and a frozen base from end to end."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PhiConfig

from steering.manifest import Manifest
from steering.refusal_templates import TEMPLATES_FILE
from tests.families import base_config, write_base
from tests.training.conftest import measured
from tests.training.heads import random_model
from training import run, start, states
from training.base_answers import FILE, BaseAnswers
from training.base_source import BaseError
from training.config import AdapterConfig, BaseConfig, MethodsConfig, Recipe, Splits
from training.examples import hold_out, splits_of
from training.loading import control_tokens, load
from training.recipes import override
from training.rendering import prompt_ids
from training.run import train
from training.run_folder import FOLDER, METRICS
from training.scoring import score_prompts
from training.start import write_start
from training.states import StateStore, forward
from training.work_folder import RunError

CPU = torch.device("cpu")


def unanswered(splits: Splits) -> Splits:
    """The same prompts, without the answers of the harmless ones."""
    prompts = [
        record if record.category else replace(record, messages=record.prompt.messages)
        for record in splits.train
    ]
    return replace(splits, train=prompts)


def on_base(recipe: Recipe, base: BaseConfig, splits: Splits, **sections: Any) -> Recipe:
    return recipe.model_copy(update={"model": base, "data": lambda _: splits, **sections})


def frozen(recipe: Recipe, base: BaseConfig, splits: Splits) -> Recipe:
    return on_base(
        recipe,
        base,
        splits,
        adapter=AdapterConfig(method="frozen"),
        methods=MethodsConfig(respond_token=False),
    )


def with_spare_rows(folder: Path, rows: int) -> Path:
    """A base whose embeddings have rows that no token has, as Qwen's."""
    write_base(folder, "qwen")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(rows, mean_resizing=False)
    model.save_pretrained(folder)
    return folder


BASES: dict[str, Callable[[Path], tuple[Path, str]]] = {
    "tied": lambda folder: (write_base(folder, "llama", tied=True), "llama"),
    "untied": lambda folder: (write_base(folder, "llama"), "llama"),
    "spare rows": lambda folder: (with_spare_rows(folder, 384), "qwen"),
    "one spare row": lambda folder: (with_spare_rows(folder, 307), "qwen"),
}


@pytest.fixture(params=BASES)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> BaseConfig:
    folder, family = BASES[request.param](tmp_path / "base")
    return base_config(folder, family)


@pytest.fixture
def llama(tmp_path: Path) -> BaseConfig:
    return base_config(write_base(tmp_path / "llama", "llama"), "llama")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many inputs each pass through a model read."""
    counts: list[int] = []

    def counting(model: Any, readings: Any) -> Any:
        counts.append(len(readings))
        return forward(model, readings)

    monkeypatch.setattr(states, "forward", counting)
    return counts


def test_a_frozen_base_gets_rows_for_its_tokens_and_nothing_else(
    base: BaseConfig, recipe: Recipe, tmp_path: Path
) -> None:
    output, splits = tmp_path / "out", recipe.data(0)
    train(frozen(recipe, base, splits), output)
    tokens = len(AutoTokenizer.from_pretrained(base.base))
    before = load_file(Path(base.base) / "model.safetensors")
    after = load_file(output / "model.safetensors")
    assert before.keys() == after.keys()
    new = [tokens, tokens + 1]
    for name, weight in before.items():
        if len(weight) < tokens:
            assert torch.equal(after[name], weight), name
            continue
        assert len(after[name]) == max(len(weight), tokens + 2), name
        kept = [row for row in range(len(weight)) if row not in new]
        assert torch.equal(after[name][kept], weight[kept]), name
    tokenizer = AutoTokenizer.from_pretrained(output)
    manifest = Manifest.load(output)
    assert len(tokenizer) == tokens + 2
    assert list(control_tokens(manifest, tokenizer).ids) == new
    assert manifest.respond_token is None
    assert manifest.refusal_texts == ("template",)
    assert manifest.scopes == ("first_token",)
    said = json.loads((output / "refusal.json").read_text())
    assert said["refusal_texts"] == ["template"]
    assert (output / TEMPLATES_FILE).is_file()
    assert (output / "prompts" / "calibration.jsonl").is_file()
    assert not (output / FILE).exists()
    # It stops where the base did, and where a turn ends.
    assert (
        GenerationConfig.from_pretrained(output).eos_token_id
        == GenerationConfig.from_pretrained(base.base).eos_token_id
    )


def test_a_frozen_base_refuses_prompts_that_it_was_not_fitted_to(
    llama: BaseConfig, recipe: Recipe, tmp_path: Path
) -> None:
    splits = recipe.data(0)
    train(frozen(recipe, llama, splits), tmp_path / "out")
    model, tokenizer = load(tmp_path / "out", device=CPU)
    manifest = Manifest.load(tmp_path / "out")
    prompts = [record.prompt for record in splits.test]
    scores = score_prompts(model, tokenizer, control_tokens(manifest, tokenizer), prompts)
    for place, name in enumerate(manifest.names):
        refused = [record.category == name for record in splits.test]
        assert roc_auc_score(refused, scores[:, place]) > 0.95


def test_another_penalty_needs_no_second_pass(
    llama: BaseConfig, recipe: Recipe, passes: list[int], tmp_path: Path
) -> None:
    output, part = tmp_path / "out", tmp_path / "out.part"
    chosen = frozen(recipe, llama, recipe.data(0))
    train(chosen, output)
    assert [path.name for path in part.iterdir()] == ["states"]
    read = len({tuple(prompt) for prompt in prompts_of(chosen, output)})
    assert passes == [read]
    first = load_file(output / "model.safetensors")["lm_head.weight"]
    train(override(chosen, ["model.rows_l2=0.001"]), output, force=True)
    assert passes == [read, 0]
    assert [path.name for path in part.iterdir()] == ["states"]
    second = load_file(output / "model.safetensors")["lm_head.weight"]
    assert torch.equal(second[:-2], first[:-2])
    assert not torch.equal(second[-2:], first[-2:])


def prompts_of(recipe: Recipe, checkpoint: Path) -> list[list[int]]:
    tokenizer = load(checkpoint, device=CPU)[1]
    return [prompt_ids(tokenizer, record.prompt) for record in recipe.data(0).train]


def test_a_frozen_run_that_is_killed_goes_on(
    llama: BaseConfig,
    recipe: Recipe,
    passes: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output, part = tmp_path / "out", tmp_path / "out.part"
    chosen = frozen(recipe, llama, recipe.data(0))
    monkeypatch.setattr(states, "PART_ROWS", 16)
    monkeypatch.setattr(states, "BATCH_TOKENS", 64)
    saves = 0

    class Killed(StateStore):
        def _save(self, *args: Any) -> None:
            nonlocal saves
            super()._save(*args)
            saves += 1
            if saves == 3:
                raise KeyboardInterrupt

    for killed in (True, False):
        with monkeypatch.context() as patch:
            # In the middle of the states, and with the checkpoint all but whole.
            if killed:
                patch.setattr(start, "StateStore", Killed)
            else:
                patch.setattr(Manifest, "save", interrupt)
            with pytest.raises(KeyboardInterrupt):
                train(chosen, output)
        assert not output.exists()
        assert (part / "start").exists() is not killed
    train(chosen, output)
    assert passes[0] - passes[1] >= 48
    # The start was whole: nothing was read for it again.
    assert len(passes) == 2
    straight = tmp_path / "straight"
    train(chosen, straight)
    one, two = (load_file(folder / "model.safetensors") for folder in (output, straight))
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_frozen_run_with_triples_refuses_inside_answers(
    llama: BaseConfig, recipe: Recipe, tmp_path: Path
) -> None:
    splits = unanswered(measured(recipe).data(0))
    output = tmp_path / "out"
    chosen = frozen(recipe, llama, splits)
    methods = chosen.methods.model_copy(update={"base_answer_tokens": 6})
    train(chosen.model_copy(update={"methods": methods}), output)
    manifest = Manifest.load(output)
    assert manifest.scopes == ("first_token", "every_token")
    model, tokenizer = load(output, device=CPU)
    refuse = list(control_tokens(manifest, tokenizer).ids)
    triple = next(record for record in splits.train if record.harmful)
    harmless = next(record for record in splits.train if not record.category)
    wrote = {}
    for record, text in ((triple, triple.harmful), (harmless, None)):
        prompt = prompt_ids(tokenizer, record.prompt)
        ids = [*prompt, *tokenizer.encode(text)] if text else own_answer(model, prompt, refuse)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, len(prompt) : -1]
        wrote[record.category] = float(logits.softmax(dim=1)[:, refuse].sum(dim=1).mean())
    assert wrote["safety"] > 0.7
    assert wrote[None] < 0.3


def own_answer(model: Any, prompt: list[int], control: list[int]) -> list[int]:
    written = model.generate(
        torch.tensor([prompt]), max_new_tokens=6, do_sample=False, suppress_tokens=control
    )
    found: list[int] = written[0].tolist()
    return found


def test_a_start_has_the_bases_answers_to_what_has_none(
    llama: BaseConfig, recipe: Recipe, tmp_path: Path
) -> None:
    splits = unanswered(recipe.data(0))
    methods = MethodsConfig(base_answer_tokens=4)
    chosen = on_base(recipe, llama, splits, methods=methods)
    write_start(tmp_path / "start", chosen, splits_of(chosen), tmp_path / "states")
    own = BaseAnswers.load(tmp_path / "start")
    assert own is not None
    tokenizer = load(tmp_path / "start", device=CPU)[1]
    harmless = {
        tuple(prompt_ids(tokenizer, record.prompt))
        for record in splits.train
        if record.category is None
    }
    assert {tuple(prompt) for prompt in own.prompts} == harmless
    assert len(own.prompts) == len(harmless)
    assert {len(ids) for ids in own.ids} <= {1, 2, 3, 4}
    # A prompt that leaves no room for the answer has none, and nor have those that have one.
    short = chosen.sft.model_copy(update={"max_length": 6})
    for number, other in enumerate(
        (
            on_base(recipe, llama, splits, methods=methods, sft=short),
            on_base(recipe, llama, recipe.data(0)),
        )
    ):
        mean = other.model_copy(update={"model": llama.model_copy(update={"start_rows": "mean"})})
        folder = tmp_path / str(number)
        write_start(folder, mean, splits_of(mean), tmp_path / "unused")
        assert BaseAnswers.load(folder) is None
    assert not (tmp_path / "unused").exists()


def test_rows_are_fitted_to_as_many_prompts_as_are_asked_for(
    llama: BaseConfig, recipe: Recipe, passes: list[int], tmp_path: Path
) -> None:
    few = llama.model_copy(update={"rows_prompts": 12})
    chosen = on_base(recipe, few, recipe.data(0))
    write_start(tmp_path / "start", chosen, splits_of(chosen), tmp_path / "states")
    assert passes == [12]
    # What training is measured on must not have been fitted to.
    held = chosen.sft.model_copy(update={"eval_share": 0.2})
    watched = chosen.model_copy(update={"model": llama, "sft": held})
    write_start(tmp_path / "watched", watched, splits_of(watched), tmp_path / "others")
    kept = hold_out(recipe.data(0).train, 0.2, watched.seed)[0]
    assert passes[1:] == [len(kept)]
    with pytest.raises(RunError, match="no record fits into max_length=4"):
        short = chosen.model_copy(update={"sft": chosen.sft.model_copy(update={"max_length": 4})})
        write_start(tmp_path / "short", short, splits_of(short), tmp_path / "states")
    # A start is whole or not there.
    assert not (tmp_path / "short").exists()


def test_a_base_with_an_output_bias_is_named_and_can_be_trained_without_fitting(
    recipe: Recipe, tmp_path: Path
) -> None:
    folder = write_base(tmp_path / "base", "llama")
    random_model(PhiConfig, vocab_size=len(AutoTokenizer.from_pretrained(folder))).save_pretrained(
        folder
    )
    base = base_config(folder, "llama")
    with pytest.raises(BaseError, match="type 'phi', which has a bias in its output embeddings"):
        train(frozen(recipe, base, recipe.data(0)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    mean = base.model_copy(update={"start_rows": "mean"})
    chosen = on_base(recipe, mean, recipe.data(0))
    write_start(tmp_path / "start", chosen, splits_of(chosen), tmp_path / "states")
    assert (tmp_path / "start" / "model.safetensors").is_file()


def test_decisions_are_trained_from_fitted_rows_while_the_bases_answers_are_kept(
    llama: BaseConfig, recipe: Recipe, tmp_path: Path
) -> None:
    """Nothing but prompts: some teach their decision, some the base's own answer too."""
    splits = recipe.data(0)
    prompts = [replace(record, messages=record.prompt.messages) for record in splits.train]
    sft = recipe.sft.model_copy(
        update={"epochs": 1, "eval_share": 0.2, "log_every": 1, "learning_rate": 1e-3}
    )
    chosen = on_base(
        recipe,
        llama,
        replace(splits, train=prompts),
        adapter=AdapterConfig(method="lora", rank=4, alpha=8),
        methods=MethodsConfig(answer_share=0.3, base_answer_tokens=4, keep_base=1.0),
        sft=sft,
    )
    train(chosen, tmp_path / "out")
    assert not (tmp_path / "out.part").exists()
    manifest = Manifest.load(tmp_path / "out")
    assert manifest.refusal_texts == ("template",)
    assert manifest.respond_token == "<|respond|>"
    lines = (tmp_path / "out" / FOLDER / METRICS).read_text().splitlines()
    measurements = [line for line in map(json.loads, lines) if "eval_auc" in line]
    assert measurements[-1]["eval_auc"] > 0.9


def test_what_is_kept_can_be_measured_in_a_plain_mean(
    llama: BaseConfig, recipe: Recipe, tmp_path: Path
) -> None:
    """The base's answers are learnt without their divergence: no column goes to the model."""
    methods = MethodsConfig(base_answer_tokens=4, decision_weight=0)
    sft = recipe.sft.model_copy(update={"epochs": 0.2})
    chosen = on_base(recipe, llama, unanswered(recipe.data(0)), methods=methods, sft=sft)
    assert run.objective_of(chosen, splits_of(chosen), None, None) is None  # type: ignore[arg-type]
    train(chosen, tmp_path / "out")
    assert (tmp_path / "out" / "refusal.json").is_file()
