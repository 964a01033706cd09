import math

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.tokens import ControlTokens
from training.examples import Decision, HeldOut
from training.measuring import any_log_odds, areas, mean_losses, measure_decisions
from training.scoring import next_token_logits

Parts = tuple[LlamaForCausalLM, PreTrainedTokenizerFast, ControlTokens]


def test_the_odds_of_any_refuse_token_by_hand() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]).log()
    odds = any_log_odds(logits, torch.tensor([1, 3]))
    assert odds.tolist() == pytest.approx([math.log(0.6 / 0.4), math.log(0.2 / 0.8)])


def test_saturated_odds_stay_apart() -> None:
    logits = torch.tensor([[0.0, 200.0], [0.0, 300.0]])
    assert any_log_odds(logits, torch.tensor([1])).tolist() == [200.0, 300.0]


def test_areas_by_hand() -> None:
    labels = np.array([0, 0, 1, -1, -1])
    # Of category 0 one of four pairs is in the wrong order; category 1 is told apart; overall two
    # of six are wrong.
    scores = np.array([[3.0, 0, 0.5], [1.0, 0, 2.0], [9.0, 5, 3.0], [2.0, 1, 1.0], [0.0, 0, 0.7]])
    found = areas(scores, labels, ("safety", "temporal"))
    assert found == {
        "auc": pytest.approx(4 / 6),
        "auc_safety": pytest.approx(3 / 4),
        "auc_temporal": 1.0,
    }


@pytest.mark.parametrize(
    ("labels", "names"),
    [([-1, -1], set()), ([0, 0], set()), ([0, -1], {"auc", "auc_safety"})],
)
def test_areas_need_both_sides(labels: list[int], names: set[str]) -> None:
    scores = np.zeros((2, 3))
    assert set(areas(scores, np.array(labels), ("safety", "temporal"))) == names


def test_scores_of_a_diverged_model_leave_the_areas_out() -> None:
    assert areas(np.full((2, 2), np.nan), np.array([0, -1]), ("safety",)) == {}


def test_losses_are_means_over_labels() -> None:
    found = mean_losses({"rto": 8.0, "answer": 1.0}, {"rto": 4, "answer": 1})
    assert found == {"loss": 9 / 5, "loss_rto": 2.0, "loss_answer": 1.0}


def test_decisions_of_a_model(untrained: Parts) -> None:
    model, _, control = untrained
    prompts = [[1, 5, 9], [1, 7], [1, 8, 8, 8]]
    top = [int(next_token_logits(model, [prompt]).argmax()) for prompt in prompts]
    decisions = [
        Decision(prompts[0], top[0], 0),
        Decision(prompts[1], control.respond, None),
        # Without a respond token any token is right that is no refuse token.
        Decision(prompts[2], None, None),
    ]
    held = HeldOut({}, decisions, control.refuse, ("safety", "temporal"))
    found = measure_decisions(model, held, batch_size=2)
    right = [True, top[1] == control.respond, top[2] not in control.refuse]
    assert found["control_token_accuracy"] == pytest.approx(sum(right) / 3)
    with torch.no_grad():
        scores = [
            any_log_odds(next_token_logits(model, [prompt]), torch.tensor(control.refuse)).item()
            for prompt in prompts
        ]
    assert found["auc"] == sum(scores[0] > score for score in scores[1:]) / 2
    assert set(found) == {"control_token_accuracy", "auc", "auc_safety"}


def test_without_control_tokens_there_is_nothing_to_decide(untrained: Parts) -> None:
    held = HeldOut({}, [], (), ("safety",))
    assert measure_decisions(untrained[0], held, batch_size=2) == {}
