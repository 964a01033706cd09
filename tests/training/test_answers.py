import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.tokens import ControlTokens
from training.answers import score_answers
from training.records import Prompt, Record
from training.rendering import render
from training.scoring import ScoringError, score_prompts

Parts = tuple[LlamaForCausalLM, PreTrainedTokenizerFast, ControlTokens]


def prompts_of(records: list[Record]) -> list[Prompt]:
    return [
        Prompt.asking(" ".join([record.messages[0].content] * (1 + index % 3)))
        for index, record in enumerate(records[:12])
    ]


def plain(parts: Parts, prompt: Prompt, max_tokens: int) -> list[float]:
    """By the definition: one prompt, no cache, no padding, float64."""
    model, tokenizer, control = parts
    ids = tokenizer.encode(render(tokenizer, prompt), add_special_tokens=False)
    largest = np.full(len(control.refuse), -np.inf)
    for step in range(max_tokens + 1):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1].double()
        p = logits.softmax(dim=0)[list(control.refuse)]
        largest = np.maximum(largest, (p.log() - torch.log1p(-p)).numpy())
        logits[list(control.ids)] = -torch.inf
        token = int(logits.argmax())
        if step == 0 and control.respond is not None:
            token = control.respond
        if token == tokenizer.eos_token_id:
            break
        ids.append(token)
    return [float(value) for value in largest]


@pytest.mark.parametrize("max_tokens", [0, 1, 9])
def test_scores_are_the_largest_of_the_answers_positions(
    untrained: Parts, records: list[Record], max_tokens: int
) -> None:
    prompts = prompts_of(records)
    scores = score_answers(*untrained, prompts, max_tokens=max_tokens, batch_size=5)
    assert scores.dtype == np.float32
    expected = [plain(untrained, prompt, max_tokens) for prompt in prompts]
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_model_without_a_respond_token_begins_with_its_own(
    untrained: Parts, records: list[Record]
) -> None:
    model, tokenizer, control = untrained
    parts = model, tokenizer, ControlTokens(respond=None, refuse=control.refuse)
    prompts = prompts_of(records)[:4]
    scores = score_answers(*parts, prompts, max_tokens=5)
    np.testing.assert_allclose(scores, [plain(parts, prompt, 5) for prompt in prompts], atol=1e-4)


def test_are_no_less_than_those_of_the_first_position(
    untrained: Parts, records: list[Record]
) -> None:
    prompts = prompts_of(records)
    first = score_prompts(*untrained, prompts)
    assert (score_answers(*untrained, prompts, max_tokens=6) >= first - 1e-4).all()


def test_answers_end_where_the_models_positions_do(untrained: Parts) -> None:
    prompt = Prompt.asking("steal a car " * 8)
    room = 128 - len(untrained[1].encode(render(untrained[1], prompt), add_special_tokens=False))
    assert 0 < room < 100
    scores = score_answers(*untrained, [prompt], max_tokens=500)
    np.testing.assert_allclose(scores, [plain(untrained, prompt, room)], atol=1e-3)


def test_prompts_longer_than_the_model_are_named(untrained: Parts) -> None:
    with pytest.raises(ScoringError, match="number 1"):
        score_answers(*untrained, [Prompt.asking("q" * 200)])
