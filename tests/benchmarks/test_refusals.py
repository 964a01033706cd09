import numpy as np
import pytest

from benchmarks.refusals import Interval, Measured, rows

REPETITIONS, PROMPTS = 6, 10


@pytest.fixture
def measured() -> Measured:
    """Templates take a tenth of the time, and a twelfth of the tokens."""
    chance = np.random.default_rng(1)
    seconds = chance.normal(1.0, 0.01, size=(REPETITIONS, 4, PROMPTS))
    tokens = np.full(seconds.shape, 12)
    seconds[:, 1:3] /= 10
    tokens[:, 1:3] = 1
    return Measured(seconds, tokens)


def test_kinds_are_told_apart_by_their_place(measured: Measured) -> None:
    seconds, tokens = measured.of("template")
    assert seconds.shape == (REPETITIONS, 2, PROMPTS)
    assert seconds.max() < 0.2
    assert tokens.max() == 1
    assert measured.of("generated")[1].min() == 12


def test_the_ratio_and_the_noise_floor_have_intervals(measured: Measured) -> None:
    cost, noise = measured.cost(), measured.noise()
    assert cost.low < cost.ratio < cost.high
    assert cost.ratio == pytest.approx(0.1, rel=0.02)
    assert noise.low < 1 < noise.high


def test_pairs_take_out_what_prompts_differ_in() -> None:
    base = np.linspace(1, 100, 50)
    paired = Interval.of(base * 0.5, base)
    assert (paired.low, paired.high) == pytest.approx((0.5, 0.5))
    apart = Interval.of(base[::-1] * 0.5, base)
    assert apart.high - apart.low > 0.1


def test_the_table_has_a_line_for_each_kind(measured: Measured) -> None:
    generated, template = rows(8, measured)
    assert generated.startswith("| 8 | generated | 12.0 | ")
    assert "noise" in generated
    assert template.startswith("| 8 | template | 1.0 | ")
    assert generated.count("|") == template.count("|") == 8
