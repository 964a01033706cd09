"""What is minimised, on tensors whose losses can be computed by hand."""

import math

import pytest
import torch

from training.encoding import NOT_REFUSED
from training.losses import OTHER, Objective, Top, decisions, divergence, nll, nll_of_none

IGNORED = -100
CONTROL = (7, 8)
VOCABULARY = 10


def logits_of(rows: list[dict[int, float]]) -> torch.Tensor:
    """[len(rows), VOCABULARY]: log of the given probabilities, the rest shared evenly."""
    found = torch.empty(len(rows), VOCABULARY)
    for row, given in zip(found, rows, strict=True):
        row[:] = math.log((1 - sum(given.values())) / (VOCABULARY - len(given)))
        for token, probability in given.items():
            row[token] = math.log(probability)
    return found


def loss_of(
    objective: Objective, logits: torch.Tensor, labels: torch.Tensor, kept: torch.Tensor | None
) -> float:
    return float(objective.loss(logits, labels, kept, objective.counts(labels, kept)))


def test_the_first_of_each_run_of_control_labels_decides() -> None:
    labels = torch.tensor(
        [
            [IGNORED, 7, 3, 4, IGNORED],
            [8, 8, 8, IGNORED, 8],  # RTO at three positions, and a prefix's transition
            [1, 2, 3, 4, 5],
            [7, IGNORED, 8, 3, 7],
        ]
    )
    yes, no = True, False
    assert decisions(labels, CONTROL).tolist() == [
        [no, yes, no, no, no],
        [yes, no, no, no, yes],
        [no] * 5,
        [yes, no, yes, no, yes],
    ]
    assert not decisions(labels, ()).any()


def test_the_likelihood_is_of_the_label() -> None:
    logits = logits_of([{3: 0.5}, {3: 0.5}, {1: 0.2, 3: 0.3}]).to(torch.bfloat16)
    found = nll(logits, torch.tensor([3, 4, 1]))
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(
        [-math.log(0.5), -math.log(0.5 / 9), -math.log(0.2)], rel=1e-2
    )


# Two decisions, of 0.5 and 0.25, and three other labels, of 0.5, 0.1 and 0.2.
LABELS = torch.tensor([[7, 3, 4], [8, 5, IGNORED]])
LOGITS = logits_of([{7: 0.5}, {3: 0.5}, {4: 0.1}, {8: 0.25}, {5: 0.2}, {0: 0.9}]).view(2, 3, -1)
DECISIONS = (math.log(2) + math.log(4)) / 2
ANSWERS = (math.log(2) + math.log(10) + math.log(5)) / 3
EVERYTHING = (2 * DECISIONS + 3 * ANSWERS) / 5


@pytest.mark.parametrize(
    ("weight", "expected"),
    [(1.0, DECISIONS + ANSWERS), (3.0, 3 * DECISIONS + ANSWERS), (0.0, EVERYTHING)],
)
def test_decisions_have_a_mean_of_their_own(weight: float, expected: float) -> None:
    objective = Objective(CONTROL, weight, keep_base=0.0)
    assert objective.counts(LABELS, None).tolist() == ([2, 3, 0] if weight else [0, 5, 0])
    assert loss_of(objective, LOGITS, LABELS, None) == pytest.approx(expected)


def test_no_refuse_token_is_likely_where_none_is_to_be_chosen() -> None:
    logits = logits_of([{7: 0.5, 8: 0.25}, {8: 0.1, 7: 0.1}])
    found = nll_of_none(logits.to(torch.bfloat16), CONTROL)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([math.log(4), -math.log(0.8)], rel=2e-2)
    # Where the model is sure, there is neither an infinity nor a loss of digits.
    sure = torch.zeros(2, VOCABULARY)
    sure[0, 7], sure[1, 0] = 200.0, 200.0
    assert nll_of_none(sure, CONTROL).tolist() == pytest.approx([200 - math.log(8), 0], abs=1e-3)


def test_a_decision_for_no_refuse_token_counts_among_decisions() -> None:
    labels = torch.tensor([[7, 3], [NOT_REFUSED, IGNORED]])
    logits = logits_of([{7: 0.5}, {3: 0.25}, {7: 0.3, 8: 0.2}, {}]).view(2, 2, -1)
    assert decisions(labels, CONTROL).tolist() == [[True, False], [True, False]]
    objective = Objective(CONTROL, 3.0, keep_base=0.0)
    assert objective.counts(labels, None).tolist() == [2, 1, 0]
    expected = 3 * (math.log(2) + math.log(2)) / 2 + math.log(4)
    assert loss_of(objective, logits, labels, None) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([[7, IGNORED, IGNORED], [8, IGNORED, IGNORED]], DECISIONS),
        ([[IGNORED, 3, 4], [IGNORED, 5, IGNORED]], ANSWERS),
        ([[IGNORED] * 3] * 2, 0.0),
    ],
)
def test_what_a_step_has_none_of_costs_nothing(labels: list[list[int]], expected: float) -> None:
    objective = Objective(CONTROL, 1.0, keep_base=0.0)
    assert loss_of(objective, LOGITS, torch.tensor(labels), None) == pytest.approx(expected)


def test_the_loss_of_a_step_is_the_sum_over_its_batches() -> None:
    objective = Objective(CONTROL, 2.0, keep_base=0.5, top=TOP)
    kept = torch.tensor([[OTHER, 0, 1], [OTHER, 1, OTHER]])
    whole = objective.counts(LABELS, kept)
    parts = [objective.counts(LABELS[row, None], kept[row, None]) for row in range(2)]
    assert torch.equal(whole, torch.stack(parts).sum(dim=0))
    assert whole.tolist() == [2, 3, 3]
    shared = [
        objective.loss(LOGITS[row, None], LABELS[row, None], kept[row, None], whole)
        for row in range(2)
    ]
    assert float(sum(shared)) == pytest.approx(loss_of(objective, LOGITS, LABELS, kept))


# The base knows tokens 0 and 1 at two positions: (0.5, 0.25) and (0.9, 0.05).
TOP = Top(torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0.5, 0.25], [0.9, 0.05]]).log())


def test_equal_distributions_are_not_apart() -> None:
    logits = logits_of([{0: 0.5, 1: 0.25}, {0: 0.9, 1: 0.05}])
    found = divergence(logits, TOP.ids, TOP.logprobs)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.zeros(2), rtol=0, atol=1e-6)


def test_the_divergence_counts_all_other_tokens_as_one() -> None:
    logits = logits_of([{0: 0.25, 1: 0.25, 5: 0.4}])
    expected = 0.5 * math.log(0.5 / 0.25) + 0.25 * math.log(0.25 / 0.5)
    found = divergence(logits, TOP.ids[:1], TOP.logprobs[:1])
    assert found.tolist() == pytest.approx([expected])


def test_the_divergence_is_a_lower_bound_of_that_over_the_vocabulary() -> None:
    draw = torch.Generator().manual_seed(0)
    base, model = (torch.randn(200, 50, generator=draw) * 3 for _ in range(2))
    base_all, model_all = base.log_softmax(dim=1), model.log_softmax(dim=1)
    whole = (base_all.exp() * (base_all - model_all)).sum(dim=1)
    before = torch.zeros(200)
    for likeliest in (4, 16, 49):
        top = base_all.topk(likeliest, dim=1)
        found = divergence(model, top.indices, top.values)
        assert (found <= whole + 1e-3).all()
        # The more tokens, the tighter.
        assert (found >= before - 1e-3).all()
        before = found
    torch.testing.assert_close(before, whole, rtol=1e-3, atol=1e-3)


def test_tokens_that_have_all_of_the_mass_leave_no_infinity() -> None:
    logits = torch.zeros(1, VOCABULARY)
    logits[0, 0] = 80.0
    logits.requires_grad_()
    top = Top(torch.tensor([[0, 1]]), torch.tensor([[0.0, -80.0]]))
    found = divergence(logits, top.ids, top.logprobs)
    assert found.item() == pytest.approx(0, abs=1e-4)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert gradient.isfinite().all()


def row(first: float, second: float) -> list[float]:
    """Probabilities of tokens 0 and 1, with the rest shared by the others but control tokens."""
    rest = (1 - first - second) / 6
    return [first, second, *[rest] * 5, 0.0, 0.0, rest]


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_what_is_kept_is_the_distribution_without_control_tokens(weight: float) -> None:
    labels, kept = torch.tensor([[0, 0]]), torch.tensor([[0, 1]])
    plain, keeping = Objective(CONTROL, weight, 0.0), Objective(CONTROL, weight, 5.0, TOP)

    def divergence_of(*rows: list[float]) -> float:
        """Of a model that gives half of its mass to control tokens."""
        probabilities = torch.tensor([rows]) / 2
        probabilities[..., list(CONTROL)] = 0.25
        logits = probabilities.log()
        return loss_of(keeping, logits, labels, kept) - loss_of(plain, logits, labels, kept)

    assert divergence_of(row(0.5, 0.25), row(0.9, 0.05)) == pytest.approx(0, abs=1e-5)
    # Another distribution costs 5 times the mean over both positions.
    apart = 0.5 * math.log(0.5 / 0.2) + 0.25 * math.log(0.25 / 0.4) + 0.25 * math.log(0.25 / 0.4)
    found = divergence_of(row(0.2, 0.4), row(0.9, 0.05))
    assert found == pytest.approx(5 * apart / 2, rel=1e-4)


def test_a_batch_without_the_bases_answers_has_no_divergence() -> None:
    objective = Objective(CONTROL, 1.0, 5.0, TOP)
    nothing = torch.full_like(LABELS, OTHER)
    expected = pytest.approx(DECISIONS + ANSWERS)
    assert loss_of(objective, LOGITS, LABELS, nothing) == expected
    assert loss_of(objective, LOGITS, LABELS, None) == expected


def test_the_gradient_of_a_batch_without_labels_is_zero() -> None:
    objective = Objective(CONTROL, 1.0, 1.0, TOP)
    logits = LOGITS.clone().requires_grad_()
    nothing = torch.full_like(LABELS, IGNORED)
    objective.loss(logits, nothing, None, torch.tensor([4, 4, 0])).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_decision_for_none_of_the_tokens_costs_their_whole_probability() -> None:
    logits = logits_of([{7: 0.25, 8: 0.25}, {7: 0.5, 8: 0.25}])
    assert nll_of_none(logits, CONTROL).tolist() == pytest.approx([math.log(2), math.log(4)])


def test_a_decision_for_none_counts_among_the_decisions() -> None:
    labels = torch.tensor([[NOT_REFUSED], [7]])
    objective = Objective(CONTROL, decision_weight=2.0, keep_base=0.0)
    counts = objective.counts(labels, None)
    assert counts.tolist() == [2, 0, 0]
    logits = logits_of([{7: 0.2, 8: 0.3}, {7: 0.25}]).view(2, 1, -1)
    expected = 2 * (math.log(2) + math.log(4)) / 2
    assert float(objective.loss(logits, labels, None, counts)) == pytest.approx(expected)
