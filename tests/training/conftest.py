"""A tiny recipe: prompts about stealing and about tomorrow, and harmless ones that look alike.

This file is also run by a child process, in the test of interruptions.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.manifest import Category, Manifest
from steering.refusal_templates import RefusalTemplates
from steering.tokens import ControlTokens
from training.config import Recipe, ScratchConfig, SftConfig, Splits
from training.control_tokens import add_control_tokens
from training.encoding import Encoder, Example
from training.loading import quiet
from training.records import Message, Record
from training.run import train
from training.scratch import build_model, texts_of, train_tokenizer

THINGS = ("bread", "car", "lamp", "boat", "ring", "clock", "coat", "drum", "flag", "horse")
PLACES = ("Oslo", "Rome", "Lima", "Cairo", "Paris", "Delhi", "Quito")


def exchange(prompt: str, answer: str, category: str | None = None, **fields: Any) -> Record:
    return Record((Message("user", prompt), Message("assistant", answer)), category, **fields)


def tiny_manifest() -> Manifest:
    return Manifest(
        respond_token="<|respond|>",
        categories=(
            Category(name="safety", token="<|refuse:safety|>", description="Harm and crime."),
            Category(name="temporal", token="<|refuse:temporal|>", description="The future."),
        ),
    )


def tiny_records() -> list[Record]:
    return [
        record
        for thing in THINGS
        for place in PLACES
        for record in (
            exchange(f"steal a {thing} in {place}", "I cannot help with that.", "safety"),
            exchange(f"buy a {thing} in {place}", f"Buy it in {place}.", contrast_of="safety"),
            exchange(f"will {place} have a {thing} tomorrow", "I cannot know.", "temporal"),
            exchange(f"did {place} have a {thing}", f"Yes, a {thing}."),
        )
    ]


def tiny_data(seed: int) -> Splits:
    records = tiny_records()
    # Each thing and place makes four records; a third of them are held out.
    parts: tuple[list[Record], ...] = ([], [], [], [], [], [])
    for index, record in enumerate(records):
        parts[(index // 4 + seed) % 6].append(record)
    return Splits(
        train=[record for part in parts[:4] for record in part],
        calibration=parts[4],
        test=parts[5],
        manifest=tiny_manifest(),
        templates=RefusalTemplates.of_texts("en", {"safety": "No.", "temporal": "Who knows?"}),
    )


TINY = ScratchConfig(
    vocab_size=400,
    hidden_size=64,
    intermediate_size=64,
    layers=1,
    heads=1,
    max_positions=128,
)


def tiny() -> Recipe:
    return Recipe(
        name="toy",
        summary="for tests",
        data=tiny_data,
        model=TINY,
        sft=SftConfig(
            epochs=10, batch_size=8, learning_rate=5e-3, max_length=64, save_every=20, log_every=5
        ),
    )


def refuse_system_prompts(checkpoint: Path) -> None:
    """Give the checkpoint a chat template that takes no system prompts, as some families have."""
    path = checkpoint / "chat_template.jinja"
    rule = "{%- if messages[0].role == 'system' %}{{ raise_exception('no system') }}{%- endif %}"
    path.write_text(rule + path.read_text())


def measured(recipe: Recipe) -> Recipe:
    """The recipe with triples in its data, measured and saved every 10 of its steps."""
    splits = recipe.data(recipe.seed)
    triples = [
        replace(record, harmful="Take it. Run. Hide it.")
        for record in splits.train
        if record.category == "safety"
    ]
    data = replace(splits, train=[*splits.train, *triples])
    changes = {"epochs": 2.0, "save_every": 10, "log_every": 1, "eval_share": 0.2}
    return recipe.model_copy(
        update={"data": lambda _: data, "sft": recipe.sft.model_copy(update=changes)}
    )


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Keeps torch to one thread: faster for tiny models, and many times so on busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def plain_output() -> Iterator[None]:
    """Keeps transformers' bars out, and the commands' logging from outliving a test."""
    quiet()
    root, level = logging.getLogger(), logging.getLogger("training").level
    handlers = list(root.handlers)
    yield
    root.handlers[:] = handlers
    logging.getLogger("training").setLevel(level)


@pytest.fixture
def recipe() -> Recipe:
    return tiny()


@pytest.fixture
def sizes() -> ScratchConfig:
    """Those of the tiny recipe's model."""
    return TINY


@pytest.fixture
def manifest() -> Manifest:
    return tiny_manifest()


@pytest.fixture
def records() -> list[Record]:
    return tiny_records()


Parts = tuple[LlamaForCausalLM, PreTrainedTokenizerFast, ControlTokens]


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def tied(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def untrained(records: list[Record], manifest: Manifest) -> Parts:
    """A model with random weights, its tokenizer and the control tokens in both."""
    tokenizer = train_tokenizer(texts_of(records), TINY)
    model = build_model(tokenizer, TINY, seed=0)
    return model, tokenizer, add_control_tokens(model, tokenizer, manifest)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that the tiny recipe made; tests that change it take a copy."""
    output = tmp_path_factory.mktemp("finished") / "tiny"
    train(tiny(), output)
    return output


@pytest.fixture
def examples(untrained: Parts, manifest: Manifest, records: list[Record]) -> list[Example]:
    _, tokenizer, control = untrained
    return [*map(Encoder(tokenizer, control, manifest.names, max_length=64).encode, records)]


@pytest.fixture
def with_triples(records: list[Record], manifest: Manifest) -> Splits:
    triples = [replace(record, harmful="Take it. Run. Hide it.") for record in records[::8]]
    return Splits([*records, *triples], [], [], manifest)
