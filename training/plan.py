"""What a run would do, without doing it: `demur-train run RECIPE --dry-run`."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from steering.manifest import Manifest
from training.adapters import attach
from training.bases import load_tokenizer, outline
from training.config import Recipe, ScratchConfig, SftConfig, Splits
from training.control_tokens import descriptions, extend_tokenizer
from training.encoding import IGNORED, Example
from training.examples import Examples, build_examples, splits_of
from training.loading import control_tokens
from training.memory import GIB, Memory, Sizes, estimate
from training.output_head import head_of
from training.processes import join
from training.reserved import choose, rename_tokens
from training.scratch import build_model, texts_of, train_tokenizer
from training.sft import train_dataset
from training.trainer import SMALL_VOCABULARY

SHARDS = (1, 2, 4, 8)
"""Numbers of devices whose share of memory is shown."""


@dataclass(frozen=True)
class Work:
    """How much there is to do."""

    examples: int
    rows: int
    """Of batches: as many as examples, unless these are packed."""
    steps: int
    batch: int
    """Rows per step, over all processes."""
    tokens: int
    """Of all epochs, without padding."""
    learnt: int
    """Those of them that carry a label."""
    longest: int
    """Tokens of the longest row of a batch."""


def work_of(examples: Sequence[Example], config: SftConfig, processes: int) -> Work:
    """The steps and tokens of a run; as many steps as the trainer does (transformers 5)."""
    rows = train_dataset(examples, config)
    batches = math.ceil(math.ceil(len(rows) / config.batch_size) / processes)
    per_epoch = math.ceil(batches / config.gradient_accumulation)
    lengths = [len(ids) for ids in rows["input_ids"]]
    learnt = sum(sum(label != IGNORED for label in example.labels) for example in examples)
    return Work(
        examples=len(examples),
        rows=len(rows),
        steps=math.ceil(config.epochs * per_epoch),
        batch=config.batch_size * config.gradient_accumulation * processes,
        tokens=round(config.epochs * sum(lengths)),
        learnt=round(config.epochs * learnt),
        longest=max(lengths),
    )


def plan(recipe: Recipe) -> Iterator[str]:
    """The plan of a run, line by line; nothing is trained or written, and no weights are read.

    Raises what `training.run.train` raises for faulty data or a base that cannot be used.
    """
    processes = join().num_processes
    splits = splits_of(recipe)
    model, tokenizer = outline_of(recipe, splits)
    sizes = sizes_of(model, recipe, splits.manifest, tokenizer)
    yield f"recipe      {recipe.name}: {recipe.summary}"
    yield (
        f"records     {len(splits.train):,} to train, {len(splits.calibration):,} to calibrate,"
        f" {len(splits.test):,} to test"
    )
    if triples := sum(record.harmful is not None for record in splits.train):
        yield f"triples     {triples:,} of those to train"
    yield f"categories  {', '.join(splits.manifest.names)}"
    if recipe.frozen:
        head_of(model)
        yield f"pass        {len(splits.train):,} prompts through the base once; no step is trained"
        fitted = len(splits.manifest.tokens)
        yield f"parameters  {sizes.parameters:,}, of which {fitted} rows are fitted"
        return
    examples = build_examples(recipe, splits, tokenizer)
    work = work_of(examples.train, recipe.sft, processes)
    yield from _of_examples(examples, work)
    rows = "examples" if work.rows == work.examples else "packed rows"
    yield f"steps       {work.steps:,} of {work.batch:,} {rows}, with {_several(processes)}"
    yield f"tokens      {work.tokens:,}, of which {work.learnt:,} are learnt"
    yield f"parameters  {sizes.parameters:,}, of which {sizes.trained:,} are trained"
    yield "memory      per device, in GiB, estimated; sharded by FSDP or ZeRO-3:"
    yield from table({shards: memory_of(recipe, sizes, work, shards) for shards in SHARDS})


def _of_examples(examples: Examples, work: Work) -> Iterator[str]:
    packed = f" in {work.rows:,} packed rows" if work.rows < work.examples else ""
    yield f"examples    {work.examples:,}{packed}, the longest of {work.longest:,} tokens"
    if examples.held_out is not None:
        held = sum(map(len, examples.held_out.by_kind.values()))
        yield f"held out    {held:,} examples to measure on"


def sizes_of(
    model: PreTrainedModel, recipe: Recipe, manifest: Manifest, tokenizer: PreTrainedTokenizerBase
) -> Sizes:
    """Sizes of `model`, whose weights need not be there; it is given its adapter in passing."""
    text = model.config.get_text_config()
    whole = model.num_parameters()
    quantized = 0
    if recipe.adapter.method == "qlora":
        head: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        quantized = sum(
            module.weight.numel()
            for module in model.modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        )
    trained = whole
    if recipe.frozen:
        trained = 0
    elif recipe.adapter.method != "full":
        adapted = attach(model, control_tokens(manifest, tokenizer), recipe.adapter, recipe.seed)
        trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
        whole += trained
    return Sizes(
        parameters=whole,
        trained=trained,
        quantized=quantized,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", 4 * text.hidden_size),
        vocabulary=text.vocab_size,
    )


def table(columns: dict[int, Memory]) -> Iterator[str]:
    """Lines of a table with a column of memory per number of devices."""
    yield " " * 14 + "".join(f"{_several(shards, 'device'):>12}" for shards in columns)
    for name in ("weights", "gradients", "optimiser", "activations", "logits", "total"):
        cells = (f"{getattr(memory, name) / GIB:12.2f}" for memory in columns.values())
        yield f"  {name:12}" + "".join(cells)


def outline_of(recipe: Recipe, splits: Splits) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model without weights, and the tokenizer with its control tokens."""
    config, manifest = recipe.model, splits.manifest
    tokenizer: PreTrainedTokenizerBase
    if isinstance(config, ScratchConfig):
        tokenizer = train_tokenizer(texts_of(splits.train), config)
        extend_tokenizer(tokenizer, manifest)
        with torch.device("meta"):
            return build_model(tokenizer, config, recipe.seed), tokenizer
    tokenizer = load_tokenizer(config)
    if config.reserved_tokens:
        missing = list(descriptions(tokenizer, manifest))
        tokenizer = rename_tokens(tokenizer, choose(tokenizer, missing, config.reserved_tokens))
    extend_tokenizer(tokenizer, manifest)
    model = outline(config)
    if len(tokenizer) > model.config.get_text_config().vocab_size:
        model.resize_token_embeddings(
            len(tokenizer),
            pad_to_multiple_of=1 if recipe.frozen else config.pad_vocabulary_to,
            mean_resizing=False,
        )
    return model, tokenizer


def memory_of(recipe: Recipe, sizes: Sizes, work: Work, shards: int) -> Memory:
    """The estimate for one of `shards` devices that share the weights."""
    sft = recipe.sft
    weight_bytes = getattr(torch, recipe.model.dtype).itemsize
    tiled = torch.accelerator.is_available() or sizes.vocabulary > SMALL_VOCABULARY
    tokens = min(sft.batch_size, work.rows) * work.longest
    return estimate(
        sizes,
        weight_bytes=weight_bytes,
        # PEFT (0.21) keeps adapters in float32, but TRL (1.16) those of QLoRA in bfloat16.
        trained_bytes={"full": weight_bytes, "lora": 4, "qlora": 2, "frozen": 0}[
            recipe.adapter.method
        ],
        activation_bytes=2 if "bfloat16" in (sft.precision, recipe.model.dtype) else 4,
        tokens=tokens,
        logit_tokens=0 if tiled else tokens,
        checkpointing=sft.gradient_checkpointing,
        shards=shards,
    )


def _several(count: int, thing: str = "process") -> str:
    plural = "es" if thing.endswith("s") else "s"
    return f"{count} {thing}{'' if count == 1 else plural}"
