from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.manifest import Manifest
from steering.tokens import ControlTokens
from tests.training.conftest import TINY
from training.base_answers import LIKELIEST, BaseAnswers, answer
from training.control_tokens import add_control_tokens
from training.losses import Objective
from training.records import Prompt, Record
from training.rendering import prompt_ids
from training.scratch import build_model, texts_of, train_tokenizer
from training.start import set_output_rows

TOKENS = 9


@pytest.fixture
def tokenizer(records: list[Record]) -> PreTrainedTokenizerFast:
    return train_tokenizer(texts_of(records), TINY)


@pytest.fixture
def base(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Knows no control token. Weights so large that greedy answers differ."""
    return build_model(tokenizer, TINY.model_copy(update={"initializer_range": 0.3}), seed=3)


@pytest.fixture
def prompts(tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    asked = ("buy bread", "did Oslo have a horse", "buy a boat in Lima", "a", "did Rome")
    return [prompt_ids(tokenizer, Prompt.asking(text)) for text in asked]


def greedy(base: LlamaForCausalLM, prompt: list[int]) -> list[int]:
    """What transformers writes for one prompt alone."""
    ids = torch.tensor([prompt])
    written = base.generate(  # type: ignore[misc]
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False
    )
    found: list[int] = written[0, len(prompt) :].tolist()
    return found


def extended(
    base: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, manifest: Manifest
) -> ControlTokens:
    """Gives the base control tokens that would win everywhere."""
    control = add_control_tokens(base, tokenizer, manifest)
    signs = torch.tensor([[3.0], [-3.0], [6.0]])[: len(control.ids)]
    set_output_rows(base, control, signs.expand(-1, TINY.hidden_size))
    return control


@pytest.mark.parametrize("ends", [False, True])
def test_answers_are_the_bases_greedy_ones(
    ends: bool,
    base: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    manifest: Manifest,
    prompts: list[list[int]],
) -> None:
    assert base.generation_config is not None
    if ends:
        base.generation_config.eos_token_id = greedy(base, prompts[0])[3]
    expected = [greedy(base, prompt) for prompt in prompts]
    assert len({tuple(ids) for ids in expected}) > 1
    own = answer(base, tokenizer, extended(base, tokenizer, manifest).ids, prompts, TOKENS)
    assert own.prompts == prompts
    assert own.ids == expected
    assert (min(map(len, own.ids)) < TOKENS) is ends


def test_the_likeliest_tokens_are_the_bases_at_every_position(
    base: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    manifest: Manifest,
    prompts: list[list[int]],
) -> None:
    with torch.no_grad():
        expected = [
            base(input_ids=torch.tensor([[*prompt, *greedy(base, prompt)]])).logits[
                0, len(prompt) - 1 : -1
            ]
            for prompt in prompts
        ]
    logprobs = torch.cat(expected).log_softmax(dim=1)
    control = extended(base, tokenizer, manifest)
    own = answer(base, tokenizer, control.ids, prompts, TOKENS)
    assert own.top.ids.shape == (sum(map(len, own.ids)), LIKELIEST)
    torch.testing.assert_close(
        own.top.logprobs, logprobs.topk(LIKELIEST, dim=1).values, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        own.top.logprobs, logprobs.gather(1, own.top.ids), rtol=1e-4, atol=1e-4
    )


def test_a_start_that_answers_as_the_base_is_not_apart_from_it(
    base: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    manifest: Manifest,
    prompts: list[list[int]],
) -> None:
    control = extended(base, tokenizer, manifest.model_copy(update={"respond_token": None}))
    own = answer(base, tokenizer, control.ids, prompts, TOKENS)
    for prompt, (ids, start) in own.by_prompt().items():
        with torch.no_grad():
            logits = base(input_ids=torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
        labels, kept = torch.tensor([ids]), torch.arange(start, start + len(ids))[None]
        with_it, without = (
            objective.loss(logits[None], labels, kept, objective.counts(labels, kept))
            for objective in (
                Objective(control.ids, 1.0, 1.0, own.top),
                Objective(control.ids, 1.0, 0.0),
            )
        )
        assert float(with_it) == pytest.approx(float(without), abs=1e-5)


def test_answers_are_read_as_they_were_written(
    base: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    manifest: Manifest,
    prompts: list[list[int]],
    tmp_path: Path,
) -> None:
    assert BaseAnswers.load(tmp_path) is None
    control = extended(base, tokenizer, manifest)
    for asked in (prompts, []):
        own = answer(base, tokenizer, control.ids, asked, TOKENS)
        own.save(tmp_path)
        again = BaseAnswers.load(tmp_path)
        assert again is not None
        assert (again.prompts, again.ids) == (own.prompts, own.ids)
        assert torch.equal(again.top.ids, own.top.ids)
        assert torch.equal(again.top.logprobs, own.top.logprobs)
        assert len(again.by_prompt()) == len(asked)
