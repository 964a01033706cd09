"""The loads that every server is put under, in their order."""

from collections.abc import Sequence
from dataclasses import dataclass

WARM_UP = "warm-up"
NATURAL = "natural"


@dataclass(frozen=True)
class Cell:
    """One run of vLLM's load generator."""

    name: str
    requests: int
    concurrency: int | None = None
    """Requests at once."""
    share: float | None = None
    """Instead: requests arrive at random (Poisson), at this share of the saturation's rate."""
    natural: bool = False
    """Whether answers end where the model ends them; else all have the same length."""


@dataclass(frozen=True)
class Load:
    """How large the cells are; every default of the command line stands here."""

    concurrency: tuple[int, ...] = (1, 8, 32)
    shares: tuple[float, ...] = (0.5, 0.8)
    requests: int = 48
    """Of a cell; at concurrency 1 a sixth of it."""
    tokens: int = 128
    """Length of each answer, a control token in front not counted."""

    def cells(self) -> list[Cell]:
        """All of them, a warm-up first."""
        return [
            Cell(WARM_UP, self._at_once(max(self.concurrency)) // 2, max(self.concurrency)),
            *(Cell(f"{at} at once", self._at_once(at), at) for at in self.concurrency),
            *(
                Cell(f"{share:.0%} of saturation", self.requests, share=share)
                for share in self.shares
            ),
            Cell(NATURAL, self.requests, _middle(self.concurrency), natural=True),
        ]

    def saturating(self) -> Cell:
        """The load whose rate of answers is the saturation's."""
        return next(cell for cell in self.cells()[1:] if cell.concurrency == max(self.concurrency))

    def _at_once(self, concurrency: int) -> int:
        return max(concurrency, self.requests // 6 if concurrency == 1 else self.requests)


def _middle(concurrency: Sequence[int]) -> int:
    return sorted(concurrency)[len(concurrency) // 2]
