"""A tiny GGUF file, as quantizers write them: weights in blocks, configuration and tokenizer."""

import json
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.families import write_base
from training.family_templates import TEMPLATES

BLOCKS = gguf.GGMLQuantizationType.Q8_0


def write_gguf(path: Path) -> PreTrainedModel:
    """Write a random Llama of two layers, and return the model that the file is to be read as."""
    base = write_base(path.with_suffix(".base"), "llama", tied=True)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(base)
    writer = gguf.GGUFWriter(path, "llama")
    _add_sizes(writer, model)
    _add_tokenizer(writer, base / "tokenizer.json")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    for name, weight in model.named_parameters():
        stored, kind = weight.detach().numpy(), None
        if weight.dim() > 1:
            stored, kind = gguf.quants.quantize(stored, BLOCKS), BLOCKS
            weight.data = torch.from_numpy(gguf.quants.dequantize(stored, BLOCKS))
        stored = _as_llama_cpp_has_it(name, stored, model)
        to = names.get_name(name, (".weight",))
        assert to is not None
        writer.add_tensor(to, stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _as_llama_cpp_has_it(
    name: str, rows: npt.NDArray[np.generic], model: PreTrainedModel
) -> npt.NDArray[np.generic]:
    """The rows in the order in which llama.cpp rotates queries and keys."""
    if "q_proj" not in name and "k_proj" not in name:
        return rows
    pairs = rows.reshape(-1, 2, model.config.head_dim // 2, rows.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def _add_sizes(writer: gguf.GGUFWriter, model: PreTrainedModel) -> None:
    config = model.config
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)


def _add_tokenizer(writer: gguf.GGUFWriter, file: Path) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    special = {each["content"]: each["id"] for each in content["added_tokens"]}
    ids = content["model"]["vocab"] | special
    tokens = sorted(ids, key=ids.__getitem__)
    kinds = gguf.TokenType
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.CONTROL if each in special else kinds.NORMAL for each in tokens])
    writer.add_token_merges([" ".join(merge) for merge in content["model"]["merges"]])
    writer.add_bos_token_id(ids["<|begin_of_text|>"])
    writer.add_eos_token_id(ids["<|eot_id|>"])
    writer.add_chat_template(TEMPLATES["llama3"].jinja)
