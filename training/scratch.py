"""A byte-level tokenizer and a small Llama-architecture model, both made from nothing."""

import json
from collections.abc import Iterable

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from training.config import ScratchConfig
from training.records import Record
from training.template import (
    CHAT_TEMPLATE,
    PADDING,
    SPECIAL_TOKENS,
    TOOLS_END,
    TOOLS_START,
    TURN_END,
)
from training.tools import as_rendered


def train_tokenizer(texts: Iterable[str], config: ScratchConfig) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learnt from `texts`, with the ChatML template.

    The vocabulary has `config.vocab_size` tokens, or fewer where the texts yield no more. Digits
    stand alone, so that a small model can learn sums.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=PADDING,
        extra_special_tokens=[
            token for token in SPECIAL_TOKENS if token not in (TURN_END, PADDING)
        ],
        model_max_length=config.max_positions,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def texts_of(records: Iterable[Record]) -> Iterable[str]:
    """Every text that the records' conversations hold, role names and tools included."""
    for record in records:
        for message in record.messages:
            yield f"{message.role}\n"
            yield message.content
            if message.thinking is not None:
                yield message.thinking
        if record.harmful is not None:
            yield record.harmful
        if record.tools:
            yield from (TOOLS_START, *map(json.dumps, as_rendered(record.tools)), TOOLS_END)


def build_model(
    tokenizer: PreTrainedTokenizerFast, config: ScratchConfig, seed: int
) -> LlamaForCausalLM:
    """A Llama-architecture model with float32 weights drawn by `seed`, fit for `tokenizer`."""
    architecture = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=config.max_positions,
        tie_word_embeddings=config.tied_embeddings,
        initializer_range=config.initializer_range,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(architecture)  # type: ignore[no-untyped-call]
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        temperature=config.temperature,
    )
    return model
