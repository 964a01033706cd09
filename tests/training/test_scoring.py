import random
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.manifest import Manifest
from steering.tokens import ControlTokens
from training.loading import control_tokens, load
from training.records import Prompt, Record
from training.rendering import render
from training.scoring import ScoringError, batches, next_token_logits, score_prompts

Parts = tuple[LlamaForCausalLM, PreTrainedTokenizerFast, ControlTokens]


def prompts_of(records: list[Record], count: int = 40) -> list[Prompt]:
    """Prompts of very different lengths."""
    chance = random.Random(0)
    return [
        Prompt.asking(" ".join([record.messages[0].content] * chance.randint(1, 4)))
        for record in chance.sample(records, count)
    ]


def plain_scores(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    control: ControlTokens,
    prompt: Prompt,
) -> list[float]:
    """One prompt's scores by the definition, in float64 and without padding."""
    ids = tokenizer.encode(render(tokenizer, prompt), add_special_tokens=False)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1].double()
    p = logits.softmax(dim=0)[list(control.refuse)]
    return [float(score) for score in p.log() - torch.log1p(-p)]


def test_scores_are_the_log_odds_of_the_definition(untrained: Parts, records: list[Record]) -> None:
    prompts = prompts_of(records)
    scores = score_prompts(*untrained, prompts, batch_size=7)
    assert scores.shape == (40, 2)
    assert scores.dtype == np.float32
    expected = [plain_scores(*untrained, prompt) for prompt in prompts]
    np.testing.assert_allclose(scores, expected, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 40, 100])
def test_neighbours_in_the_batch_do_not_matter(
    untrained: Parts, records: list[Record], batch_size: int
) -> None:
    prompts = prompts_of(records)
    together = score_prompts(*untrained, prompts, batch_size=8)
    shuffled = list(range(40))
    random.Random(batch_size).shuffle(shuffled)
    again = score_prompts(*untrained, [prompts[row] for row in shuffled], batch_size=batch_size)
    np.testing.assert_allclose(again, together[shuffled], atol=1e-4)


def test_scores_come_from_the_answers_first_position(finished: Path, manifest: Manifest) -> None:
    model, tokenizer = load(finished)
    scores = score_prompts(
        model,
        tokenizer,
        control_tokens(manifest, tokenizer),
        [
            Prompt.asking("steal a boat in Rome"),
            Prompt.asking("will Rome have a boat tomorrow"),
            Prompt.asking("buy a boat in Rome"),
            Prompt.asking("did Rome have a boat"),
        ],
    )
    assert (scores > 0).tolist() == [[True, False], [False, True], [False, False], [False, False]]


def test_padding_leaves_the_logits_alone(untrained: Parts) -> None:
    model = untrained[0]
    with torch.no_grad():
        alone = next_token_logits(model, [[5, 6, 7]])
        padded = next_token_logits(model, [[5, 6, 7], list(range(10, 40))])
    torch.testing.assert_close(padded[:1], alone, atol=1e-4, rtol=1e-4)


def test_no_prompts_have_no_scores(untrained: Parts) -> None:
    assert score_prompts(*untrained, []).shape == (0, 2)


def test_batches_are_of_similar_length_and_complete() -> None:
    prompts = [[0] * length for length in [3, 9, 1, 7, 5]]
    assert list(batches(prompts, 2)) == [[1, 3], [4, 0], [2]]


def test_prompts_longer_than_the_model_are_named(untrained: Parts) -> None:
    short, long = Prompt.asking("a"), Prompt.asking("q" * 200)
    with pytest.raises(ScoringError, match=r"1 prompts have more .* 128 positions.*: number 2"):
        score_prompts(*untrained, [short, long])
