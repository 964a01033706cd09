"""A checkpoint whose every word is written down here, to test what servers do with words.

The model is a real Llama that vLLM loads as any other, but its weights are a table: attention and
MLP add nothing, every token's embedding is a direction of its own, and the output layer holds, for
each token, the logits of the next. What the server and its engine do with it is under test; what
the model says is not.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from steering.calibration import CalibrationScores
from steering.manifest import Calibration, Category, Manifest
from steering.refusal_templates import RefusalTemplates
from training.template import CHAT_TEMPLATE

RESPOND = "<|respond|>"
SAFETY = "<|refuse:safety|>"
TEMPORAL = "<|refuse:temporal|>"
END = "<|im_end|>"
MANIFEST = Manifest(
    respond_token=RESPOND,
    categories=(Category(name="safety", token=SAFETY), Category(name="temporal", token=TEMPORAL)),
    scopes=("first_token", "every_token"),
    calibration=Calibration(
        engine="transformers",
        dtype="float32",
        prompts={},
        shapes={"system": 4, "tools": 0, "turns": 0, "plain": 8},
    ),
)
FROZEN = MANIFEST.model_copy(update={"respond_token": None, "refusal_texts": ("template",)})
"""Of a checkpoint without a respond token, whose model was not trained to write refusals."""
TEMPLATES = RefusalTemplates(
    default="en",
    languages={
        "en": {"safety": "I can't help with that.", "temporal": "I have no news."},
        "de": {"safety": "Das könnte jemandem schaden.", "temporal": "Das weiß ich nicht."},
    },
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", END, *MANIFEST.tokens)
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
WORDS = ("One", " two", " three", " four", "No", " way", "<think>", "hmm", "</think>", CALL)
CHARACTERS = ("\n", *map(chr, range(32, 127)))

ALWAYS, LIKELY, BASE = 300.0, 12.0, 0.0
"""Logits: nothing that a client may bias by beats ALWAYS."""
SCRIPT: Mapping[str, Mapping[str, float]] = {
    # The prompt ends in a line break: the model leans to answering, a little to refusing.
    "\n": {SAFETY: LIKELY - 2, TEMPORAL: LIKELY - 4},
    RESPOND: {"One": LIKELY},
    "One": {" two": LIKELY},
    # Behind two words it would rather refuse: p of about 0.73.
    " two": {" three": LIKELY, SAFETY: LIKELY + 1},
    " three": {" four": LIKELY},
    " four": {END: ALWAYS},
    SAFETY: {"No": LIKELY},
    TEMPORAL: {"No": LIKELY},
    "No": {" way": LIKELY},
    " way": {END: ALWAYS},
    "<think>": {"hmm": LIKELY},
    "hmm": {"</think>": LIKELY},
    "</think>": {"One": LIKELY},
    CALL: {END: ALWAYS},
    # A grammar's JSON: no idle white space, and an end as soon as it may be.
    "}": {END: LIKELY},
}
SIZE = len((*SPECIAL, *WORDS, *CHARACTERS))
HIDDEN = 128
HEADS = 2


def build(folder: Path, respond_with: str = "One", manifest: Manifest = MANIFEST) -> None:
    """Write the checkpoint into `folder`; an answer begins with the word `respond_with`."""
    save(folder, logits(respond_with, manifest), manifest)


def logits(respond_with: str = "One", manifest: Manifest = MANIFEST) -> torch.Tensor:
    """[token, next token] float32: what the script comes to."""
    table = torch.full((SIZE, SIZE), BASE)
    script = dict(SCRIPT) | {RESPOND: {respond_with: LIKELY}}
    script["\n"] = {manifest.respond_token or respond_with: LIKELY, **script["\n"]}
    for text, following in script.items():
        for successor, logit in following.items():
            table[token_id(text), token_id(successor)] = logit
    table[:, [token_id("\n"), token_id(" ")]] -= 5
    return table


def save(folder: Path, table: torch.Tensor, manifest: Manifest = MANIFEST) -> None:
    """Write a checkpoint with these logits ([token, next token], float32) into `folder`."""
    tokenizer = _tokenizer()
    _model(tokenizer, table).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    labels = np.repeat([-1, 0, 1], 4)
    scores = np.linspace(-3, 3, len(labels) * 2, dtype=np.float32).reshape(-1, 2)
    for scope in manifest.scopes:
        CalibrationScores(manifest.names, labels, scores).save(folder, scope)
    TEMPLATES.save(folder)
    manifest.save(folder)


def token_id(text: str) -> int:
    """Id of a special token, a word or a character."""
    return (*SPECIAL, *WORDS, *CHARACTERS).index(text)


def _tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {text: index for index, text in enumerate((*SPECIAL, *WORDS, *CHARACTERS))}
    assert len(vocabulary) == SIZE <= HIDDEN
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=" "))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in WORDS])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=SPECIAL[0],
        extra_special_tokens=list(SPECIAL[1:]),
        chat_template=CHAT_TEMPLATE,
    )


def _model(tokenizer: PreTrainedTokenizerFast, table: torch.Tensor) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=SIZE,
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        layer = model.model.layers[0]
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(SIZE, HIDDEN))
        # The last norm scales a unit vector by the root of its length.
        model.lm_head.weight.zero_()
        model.lm_head.weight[:, :SIZE] = table.T / HIDDEN**0.5
    assert model.generation_config is not None
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model
