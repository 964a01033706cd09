import pytest
import torch
from pydantic import ValidationError

from tests.training.conftest import TINY
from training.config import ScratchConfig
from training.records import Message, Record
from training.scratch import build_model, texts_of, train_tokenizer

SMALL = TINY.model_copy(update={"vocab_size": 320, "max_positions": 32, "temperature": 0.3})
TEXTS = ["the cat sat on the mat", "assistant\n", "user\n", "the cats sat"] * 3


@pytest.mark.parametrize("text", ["the cat", "Ünklar ☂ 日本", "  two  spaces\n\n", "12 + 345", ""])
def test_every_text_survives_the_tokenizer(text: str) -> None:
    tokenizer = train_tokenizer(TEXTS, SMALL)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_digits_stand_alone() -> None:
    tokenizer = train_tokenizer(["2024 2024 2024"] * 9, SMALL)
    assert tokenizer.tokenize("2024") == ["2", "0", "2", "4"]


def test_special_tokens_have_their_parts() -> None:
    tokenizer = train_tokenizer(TEXTS, SMALL)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert set(tokenizer.all_special_tokens) == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
    assert tokenizer.decode(tokenizer.encode("<|im_start|>hi"), skip_special_tokens=True) == "hi"
    assert len(tokenizer) <= SMALL.vocab_size


def test_the_same_texts_give_the_same_tokenizer() -> None:
    first, second = (train_tokenizer(TEXTS, SMALL) for _ in range(2))
    assert first.get_vocab() == second.get_vocab()


def test_texts_of_a_record_include_the_roles() -> None:
    record = Record((Message("user", "a"), Message("assistant", "b")), None)
    assert list(texts_of([record])) == ["user\n", "a", "assistant\n", "b"]


def test_texts_of_a_record_include_thinking_and_harmful_answers() -> None:
    turns = (Message("user", "a"), Message("assistant", "b", thinking="c"))
    texts = list(texts_of([Record(turns, "safety", harmful="d")]))
    assert texts == ["user\n", "a", "assistant\n", "b", "c", "d"]


def test_texts_of_a_record_include_its_tools_as_the_template_writes_them() -> None:
    tool = {"type": "function", "function": {"name": "clock", "description": "d", "parameters": {}}}
    texts = list(texts_of([Record((Message("user", "a"),), None, tools=(tool,))]))
    rendered = train_tokenizer(TEXTS, SMALL).apply_chat_template(
        [{"role": "user", "content": "a"}], tools=[tool], tokenize=False
    )
    assert f"{texts[2]}\n{texts[3]}{texts[4]}" in str(rendered)


@pytest.mark.parametrize("tied", [True, False])
def test_the_model_has_the_sizes_asked_for(tied: bool) -> None:
    tokenizer = train_tokenizer(TEXTS, SMALL)
    model = build_model(tokenizer, SMALL.model_copy(update={"tied_embeddings": tied}), seed=0)
    assert model.config.hidden_size // model.config.num_attention_heads == 64
    assert model.model.embed_tokens.weight.shape == (len(tokenizer), 64)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert model.dtype == torch.float32
    assert model.generation_config is not None
    assert model.generation_config.temperature == 0.3
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_the_default_model_has_heads_of_64_and_about_four_million_parameters() -> None:
    config = ScratchConfig()
    assert config.hidden_size // config.heads == 64
    model = build_model(train_tokenizer(TEXTS, config), config, seed=0)
    in_layers = model.num_parameters() - model.lm_head.weight.numel()
    assert 4_000_000 < in_layers + config.vocab_size * config.hidden_size < 5_000_000


def test_the_seed_alone_decides_the_weights() -> None:
    tokenizer = train_tokenizer(TEXTS, SMALL)
    torch.manual_seed(1)
    first = build_model(tokenizer, SMALL, seed=7).lm_head.weight
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(first, build_model(tokenizer, SMALL, seed=7).lm_head.weight)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first, build_model(tokenizer, SMALL, seed=8).lm_head.weight)


def test_heads_must_divide_the_hidden_size() -> None:
    with pytest.raises(ValidationError, match="hidden_size must be an even multiple of heads"):
        ScratchConfig(hidden_size=100, heads=3)
