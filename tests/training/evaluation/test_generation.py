"""Answers under the gate against a slow, plain reference: one row, one token at a time."""

import pytest
import torch

from steering.gate import decide, log_odds
from training.evaluation.generation import GateSettings, generate
from training.evaluation.target import EvalError

from ..conftest import Parts

PROMPTS = [[5, 6, 7], [*range(200, 220)], [30, 31], [100, 5, 101, 6, 102]]
COUNT = 12


def reference(parts: Parts, prompt: list[int], gate: GateSettings | None) -> list[int]:
    model, tokenizer, control = parts
    written: list[int] = []
    refused = False
    while len(written) < COUNT:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + written])).logits[:, -1].float()
        chosen = None
        if gate is not None:
            first = not written and not gate.begun
            if first or (gate.every_token and not refused):
                scores = log_odds(logits.clone(), torch.tensor(control.refuse))
                choice = int(decide(scores, torch.tensor([gate.thresholds]))[0])
                if choice >= 0:
                    chosen, refused = control.refuse[choice], True
                elif first:
                    chosen = control.respond
            logits[:, list(control.ids)] = -torch.inf
        token = int(logits.argmax()) if chosen is None else chosen
        if token == tokenizer.eos_token_id:
            break
        written.append(token)
    return written


def thresholds_between(parts: Parts, share: float) -> tuple[float, ...]:
    """Thresholds around which an untrained model's scores lie."""
    model, _, control = parts
    with torch.no_grad():
        logits = model(input_ids=torch.arange(10, 30).unsqueeze(0)).logits[0].float()
    scores = log_odds(logits, torch.tensor(control.refuse))
    return tuple(torch.quantile(scores, share, dim=0).tolist())


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("every_token", [False, True])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_the_gate_decides_as_the_reference_does(
    untrained: Parts, batch_size: int, every_token: bool, begun: bool, share: float
) -> None:
    model, tokenizer, control = untrained
    gate = GateSettings(control, thresholds_between(untrained, share), every_token, begun)
    found = generate(
        model,
        tokenizer,
        PROMPTS,
        max_new_tokens=COUNT,
        gate=gate,
        batch_size=batch_size,
        label="test",
    )
    assert found == [reference(untrained, prompt, gate) for prompt in PROMPTS]


def test_without_a_gate_the_model_writes_as_it_likes(untrained: Parts) -> None:
    model, tokenizer, _ = untrained
    found = generate(
        model, tokenizer, PROMPTS, max_new_tokens=COUNT, gate=None, batch_size=4, label="test"
    )
    assert found == [reference(untrained, prompt, None) for prompt in PROMPTS]


def test_answers_end_where_the_models_positions_do(untrained: Parts) -> None:
    model, tokenizer, _ = untrained
    long = [[7] * 126, [7] * 3]
    found = generate(model, tokenizer, long, max_new_tokens=9, gate=None, batch_size=1, label="x")
    assert len(found[0]) <= 2
    with pytest.raises(EvalError, match="a prompt has 128 tokens"):
        generate(model, tokenizer, [[7] * 128], max_new_tokens=1, gate=None, batch_size=1, label="")
