"""Rows fitted by L-BFGS against a plain solver: Newton's method on the formula as it is written."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from training import row_fit
from training.output_head import OutputHead
from training.row_fit import (
    NONE,
    Basis,
    Decisions,
    Ints,
    cross_validate,
    fit_rows,
    loss_and_gradient,
    loss_of,
)

PLAIN = OutputHead()
HEADS = (PLAIN, OutputHead(scale=0.25), OutputHead(cap=4.0), OutputHead(2.0, cap=6.0))
WIDTH, CLASSES = 5, 3


def decisions_of(n: int = 60, *, seed: int = 0, width: int = WIDTH) -> Decisions:
    """Random states with a constant direction; labels depend on them, with noise."""
    draw = np.random.default_rng(seed)
    hidden = draw.normal(size=(n, width)) + 2.0
    leaning = (hidden - 2.0) @ draw.normal(size=(width, CLASSES + 1))
    leaning += draw.normal(size=leaning.shape)
    return Decisions(
        hidden.astype(np.float32),
        draw.normal(3.0, 1.0, size=n).astype(np.float32),
        leaning.argmax(axis=1) - 1,  # the first stands for NONE
        draw.uniform(0.5, 2.0, size=n),
        np.arange(n),
    )


def formula(
    parameters: torch.Tensor, decisions: Decisions, head: OutputHead, l2: float
) -> torch.Tensor:
    """The penalised loss of [C, D + 1] parameters (u, then b), as the module's text has it."""
    hidden = torch.from_numpy(decisions.hidden).double()
    offset = torch.from_numpy(decisions.offset).double()
    ones = torch.ones(len(hidden), dtype=torch.float64)
    scale = hidden.square().mean().sqrt()
    # The least-squares v, damped as Basis.of says.
    damped = 1e-4 * scale**2 * len(hidden) * torch.eye(hidden.shape[1], dtype=torch.float64)
    constant = torch.linalg.solve(hidden.T @ hidden + damped, hidden.T @ ones)
    w = parameters[:, :-1] / scale + parameters[:, -1:] * constant
    z = head.scale * hidden @ w.T
    if head.cap is not None:
        z = head.cap * torch.tanh(z / head.cap)
    losses = torch.cat([offset[:, None], z], dim=1).logsumexp(dim=1)
    # No token is chosen where the label is NONE: there the offset stands for it.
    losses = losses - torch.stack(
        [o if y == NONE else row[y] for o, row, y in zip(offset, z, decisions.labels, strict=True)]
    )
    weights = torch.from_numpy(decisions.weights)
    return (weights * losses).sum() / weights.sum() + l2 / 2 * parameters[:, :-1].square().sum()


def newton(decisions: Decisions, head: OutputHead, l2: float) -> torch.Tensor:
    """The optimum, [C, D + 1], by damped Newton steps from 0."""
    flat = torch.zeros(CLASSES * (decisions.hidden.shape[1] + 1), dtype=torch.float64)

    def of(values: torch.Tensor) -> torch.Tensor:
        return formula(values.view(CLASSES, -1), decisions, head, l2)

    for _ in range(30):
        value = flat.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(of(value), value)
        if gradient.abs().max() < 1e-9:
            break
        step = torch.linalg.solve(torch.autograd.functional.hessian(of, flat), gradient)  # type: ignore[no-untyped-call]
        size = 1.0
        while of(flat - size * step) > of(flat) and size > 1e-6:
            size /= 2
        flat = flat - size * step
    return flat.view(CLASSES, -1)


@pytest.mark.parametrize("l2", [0.1, 0.001])
@pytest.mark.parametrize("head", HEADS[:2], ids=str)
def test_the_optimum_is_that_of_newtons_method(head: OutputHead, l2: float) -> None:
    decisions = decisions_of(40)
    best = newton(decisions, head, l2)
    rows, used = fit_rows(decisions, CLASSES, head, l2)
    assert used == l2
    np.testing.assert_allclose(
        rows, Basis.of(decisions).rows(best.numpy()), rtol=1e-3, atol=1e-3 * np.abs(rows).max()
    )
    assert loss_of(rows, decisions, head) == pytest.approx(
        float(formula(best, decisions, head, 0.0)), abs=1e-5
    )


@pytest.mark.parametrize("head", HEADS[2:], ids=str)
def test_the_optimum_under_a_cap_is_stationary(head: OutputHead) -> None:
    decisions = decisions_of(40)
    rows, _ = fit_rows(decisions, CLASSES, head, 0.01)
    basis = Basis.of(decisions)
    # Back to the parameters: both are linear, and a row has no more than them.
    b = np.linalg.lstsq(
        np.concatenate([np.eye(WIDTH) / basis.scale, basis.constant[None]]).T, rows.T
    )[0].T
    assert np.allclose(basis.rows(b), rows)
    _, by_row = loss_and_gradient(rows, decisions, head)
    # Where the penalty's pull and the loss's agree: l2 u = -gradient / r, and nothing pulls at b.
    assert np.abs(by_row @ basis.constant).max() < 1e-5
    u = -by_row / basis.scale / 0.01
    bias = (rows - u / basis.scale) @ basis.constant / (basis.constant @ basis.constant)
    np.testing.assert_allclose(u / basis.scale + bias[:, None] * basis.constant, rows, atol=1e-2)


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_the_gradient_is_that_of_finite_differences(head: OutputHead) -> None:
    decisions = decisions_of()
    rows = np.random.default_rng(1).normal(size=(CLASSES, WIDTH)) / 2
    _, gradient = loss_and_gradient(rows, decisions, head)
    step = 1e-5
    for place in np.ndindex(rows.shape):
        moved = [rows.copy(), rows.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        above, below = (loss_of(each, decisions, head) for each in moved)
        assert gradient[place] == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-8)


def test_the_loss_is_the_formulas() -> None:
    decisions, head = decisions_of(), OutputHead(0.5, cap=5.0)
    parameters = np.random.default_rng(1).normal(size=(CLASSES, WIDTH + 1))
    found = loss_of(Basis.of(decisions).rows(parameters), decisions, head)
    expected = formula(torch.from_numpy(parameters), decisions, head, 0.0)
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_many_chunks_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    decisions = decisions_of()
    rows = np.random.default_rng(1).normal(size=(CLASSES, WIDTH))
    whole, of_all = loss_and_gradient(rows, decisions, PLAIN), Basis.of(decisions)
    fitted = fit_rows(decisions, CLASSES, PLAIN, 0.01)[0]
    monkeypatch.setattr(row_fit, "CHUNK", 7)
    parts, of_parts = loss_and_gradient(rows, decisions, PLAIN), Basis.of(decisions)
    assert parts[0] == pytest.approx(whole[0])
    np.testing.assert_allclose(parts[1], whole[1])
    np.testing.assert_allclose(of_parts.constant, of_all.constant)
    np.testing.assert_allclose(fit_rows(decisions, CLASSES, PLAIN, 0.01)[0], fitted, rtol=1e-3)


def test_a_weight_of_two_is_a_decision_twice() -> None:
    decisions = decisions_of(40)
    once = replace(decisions, weights=np.where(np.arange(40) < 10, 2.0, 1.0))
    twice = decisions.only(np.concatenate([np.arange(40), np.arange(10)]))
    twice = replace(twice, weights=np.ones(50))
    rows = np.random.default_rng(1).normal(size=(CLASSES, WIDTH))
    assert loss_of(rows, once, PLAIN) == pytest.approx(loss_of(rows, twice, PLAIN))
    few = replace(decisions, weights=1e-3 * once.weights)
    assert loss_of(rows, few, PLAIN) == pytest.approx(loss_of(rows, once, PLAIN))


def test_the_constant_part_is_not_penalised() -> None:
    """However strong the penalty, each token is as likely as its labels are."""
    decisions = replace(decisions_of(200), weights=np.ones(200))
    decisions.hidden[:, 0] = 2.0
    rows, _ = fit_rows(decisions, CLASSES, PLAIN, 1e4)
    every = np.concatenate([decisions.hidden @ rows.T, decisions.offset[:, None]], axis=1)
    shares = np.exp(every - np.logaddexp.reduce(every, axis=1, keepdims=True)).mean(axis=0)
    expected = np.bincount(decisions.labels - NONE, minlength=CLASSES + 1) / 200
    np.testing.assert_allclose(shares, np.roll(expected, -1), atol=0.02)


def test_a_token_without_decisions_stays_unlikely() -> None:
    decisions = decisions_of()
    rows, _ = fit_rows(decisions, CLASSES + 1, PLAIN, 0.1)
    assert np.isfinite(rows).all()
    assert (decisions.hidden @ rows[-1] < decisions.offset - 3).all()


def many_of_each(labels: Ints, *, width: int, copies: int, seed: int) -> Decisions:
    """Conversations of `copies` decisions that are all alike."""
    draw = np.random.default_rng(seed)
    hidden = np.repeat(draw.normal(size=(len(labels), width)) + 1, copies, axis=0)
    return Decisions(
        hidden.astype(np.float32),
        np.zeros(len(hidden), dtype=np.float32),
        np.repeat(labels, copies),
        np.ones(len(hidden)),
        np.repeat(np.arange(len(labels)), copies),
    )


def test_cross_validation_keeps_conversations_together(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels that have nothing to do with the states: only a leak could learn them."""
    monkeypatch.setattr(row_fit, "PENALTIES", (0.1, 0.001))
    labels = np.random.default_rng(0).integers(-1, 1, size=40)
    noise = many_of_each(labels, width=20, copies=4, seed=1)
    with caplog.at_level(logging.INFO, logger="training"):
        l2 = cross_validate(noise, 1, PLAIN, Basis.of(noise))
    assert l2 == 0.1
    assert "Cross-validation: penalty 0.1, held-out loss" in caplog.text
    leaking = replace(noise, groups=np.arange(len(noise.labels)))
    assert cross_validate(leaking, 1, PLAIN, Basis.of(leaking)) == 0.001


def test_cross_validation_takes_a_weak_penalty_where_states_tell_all() -> None:
    draw = np.random.default_rng(0)
    hidden = draw.normal(size=(300, 6)) + 1
    clear = Decisions(
        hidden.astype(np.float32),
        np.zeros(300, dtype=np.float32),
        np.where(hidden[:, 0] > hidden[:, 1], 0, NONE),
        np.ones(300),
        np.arange(300),
    )
    rows, l2 = fit_rows(clear, 1, PLAIN)
    assert l2 <= 0.001
    chosen = clear.hidden @ rows[0] > clear.offset
    assert (chosen == (clear.labels == 0)).mean() > 0.98


def test_one_conversation_of_a_kind_is_too_few_to_cross_validate(
    caplog: pytest.LogCaptureFixture,
) -> None:
    labels = np.array([0, *[NONE] * 20])
    alone = many_of_each(labels, width=4, copies=8, seed=0)
    with caplog.at_level(logging.INFO, logger="training"):
        assert cross_validate(alone, 1, PLAIN, Basis.of(alone)) == 0.01
    assert "Too few decisions of a kind to cross-validate" in caplog.text
