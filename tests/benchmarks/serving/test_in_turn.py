import pytest

from benchmarks.serving.in_turn import FIGURES, KINDS, WARM_UP, Turns, head, measure, row


class Made(Turns):
    """Blocks without a server: Demur takes a tenth longer, and two steps until it begins."""

    def __init__(self) -> None:
        self.orders: list[list[str]] = []

    def block(self, at_once: int, order: list[str]) -> dict[str, dict[str, float]]:  # type: ignore[override]
        self.orders.append(order)
        pace = 10.0 * at_once + len(self.orders)
        return {arm: figures(pace * 1.1 if arm == "b" else pace, arm == "b") for arm in order}


def figures(step: float, late: bool) -> dict[str, float]:
    first = step * (3 if late else 1)
    return {
        "throughput": 1000 / step,
        "tpot": step,
        "step": step,
        "ttft": first,
        "first_text": first,
    }


def test_every_arm_has_its_turn_in_every_block() -> None:
    turns = Made()
    found = measure(turns, 8, 30)
    assert found.keys() == set(FIGURES)
    assert all(of.shape == (len(KINDS), 30) for of in found.values())
    assert all(sorted(order) == sorted(KINDS) for order in turns.orders)
    assert len({tuple(order) for order in turns.orders}) == 6
    assert len(turns.orders) == WARM_UP + 30
    # The blocks that warm up are not among them.
    assert found["tpot"][0].tolist() == [80.0 + number for number in range(3, 33)]


def test_a_row_has_ratios_to_stock_and_delays_in_its_steps() -> None:
    cells = list(row(8, measure(Made(), 8, 30)))
    assert len(cells) == len(head())
    named = dict(zip(head(), cells, strict=True))
    assert named["at once"] == "8"
    values = [float(cell.split()[0]) for cell in cells]
    assert values[2:4] == pytest.approx([1, 1 / 1.1], abs=1e-3)
    assert values[5:7] == pytest.approx([1, 1.1], abs=1e-3)
    assert values[7:] == pytest.approx([0, 2.3] * 2, abs=1e-3)
