import pytest

from benchmarks.serving.arms import IN_SHARED
from benchmarks.serving.in_turn import FIGURES, HEAD, WARM_UP, Turns, measure, rows


class Made(Turns):
    """Blocks without a server: Demur takes a tenth longer, and two steps more until it begins."""

    def __init__(self) -> None:
        self.orders: list[list[str]] = []

    def block(self, at_once: int, order: list[str]) -> dict[str, dict[str, float]]:  # type: ignore[override]
        self.orders.append(order)
        pace = 10.0 * at_once + len(self.orders)
        ours = ("b", "c")
        return {arm: figures(pace * 1.1 if arm in ours else pace, arm in ours) for arm in order}


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
    assert all(of.shape == (len(IN_SHARED), 30) for of in found.values())
    assert all(sorted(order) == sorted(IN_SHARED) for order in turns.orders)
    assert len({tuple(order) for order in turns.orders}) > 12
    assert turns.orders[1::2] == [order[::-1] for order in turns.orders[::2]]
    assert len(turns.orders) == WARM_UP + 30
    # The blocks that warm up are not among them.
    assert found["tpot"][0].tolist() == [80.0 + number for number in range(3, 33)]


def test_rows_have_ratios_of_pairs_and_delays_in_steps_of_the_first() -> None:
    found = [dict(zip(HEAD, row, strict=True)) for row in rows(8, measure(Made(), 8, 30))]
    assert [row["at once"] for row in found] == ["8", "", "", ""]
    stock, *pairs = found
    assert stock[""] == "a stock vLLM"
    assert stock["time per further token, ms"] == "97.5"
    assert stock["first piece, steps"] == "97.5 ms"
    shown = {row[""]: [float(cell.split()[0]) for cell in [*row.values()][2:]] for row in pairs}
    assert shown == {
        "a2 / a": [1, 1, 0, 0],
        "b / a": pytest.approx([1 / 1.1, 1.1, 2.3, 2.3], abs=1e-3),
        "c / b": [1, 1, 0, 0],
    }
