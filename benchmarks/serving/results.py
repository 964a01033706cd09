"""What was measured, as it is kept on disk: JSON lines, one for each server put under load.

A run that is cut off keeps the lines that it wrote whole; the next one goes on behind them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

FILE = "runs.jsonl"
MS = 1e3


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Spent(_Frozen):
    """What a server has spent on a load; in seconds."""

    front_s: float
    """CPU time of all its processes but the engine's; a guard's proxy is none of them."""
    engine_s: float
    requests: int
    """Whose first token the engine gave, those asked by a guard or for scores among them."""
    first_s: float
    """Sum over these: from the rendering of the prompt to the first token (vLLM's own clock)."""
    queue_s: float
    """Of it, waiting in the engine."""
    prefill_s: float
    """Of it, in the engine's batch."""

    def plus(self, other: "Spent") -> "Spent":
        """Both together."""
        own, its = self.model_dump(), other.model_dump()
        return Spent(**{name: value + its[name] for name, value in own.items()})


class Requests(_Frozen):
    """One cell's requests, those that were answered whole; times in milliseconds."""

    seconds: float
    """From the first request to the last answer's end."""
    failed: int
    ttft: tuple[float, ...]
    """To the first piece of the response, as `bench serve` counts."""
    first_text: tuple[float, ...]
    """To the first piece that holds a token of the answer.

    vLLM sends an empty piece in front as soon as the engine has any token. That is the control
    token where the model writes one; then the answer's first token is a step later.
    """
    gap: tuple[float, ...]
    """From the second piece to the third: a step of decoding; 0 where there is none."""
    e2e: tuple[float, ...]
    """To the last piece."""
    tokens: tuple[int, ...]
    """Of the answers: what the server counts in `usage`, without a control token in front."""
    refused: tuple[bool, ...]
    spent: Spent

    @classmethod
    def joined(cls, parts: Sequence["Requests"]) -> "Requests":
        """The requests of several rounds of the same load."""
        first, *others = parts
        found = first
        for part in others:
            found = cls(
                seconds=found.seconds + part.seconds,
                failed=found.failed + part.failed,
                spent=found.spent.plus(part.spent),
                **{name: getattr(found, name) + getattr(part, name) for name in cls._of_each()},
            )
        return found

    @classmethod
    def _of_each(cls) -> list[str]:
        """Fields with a value for each request."""
        return [name for name in cls.model_fields if name not in ("seconds", "failed", "spent")]

    def figures(self, *, refused: bool | None = None) -> dict[str, float]:
        """Medians over requests and, over all of them, throughput.

        refused: only those that were, or were not. Empty if there are none.
        """
        kept = [at for at, was in enumerate(self.refused) if refused in (None, was)]
        if not kept:
            return {}
        first, gap, e2e, tokens = (
            np.array([values[at] for at in kept], dtype=np.float64)
            for values in (self.first_text, self.gap, self.e2e, self.tokens)
        )
        several = tokens > 1
        found = {
            "ttft": float(np.median([self.ttft[at] for at in kept])),
            "first_text": float(np.median(first)),
            "e2e": float(np.median(e2e)),
            "tokens": float(tokens.mean()),
        }
        if several.any():
            steps = (e2e - first)[several] / (tokens[several] - 1)
            found["tpot"] = float(np.median(steps))
        if gap.any():
            found["step"] = float(np.median(gap[gap > 0]))
        if refused is None:
            found["throughput"] = float(tokens.sum() / self.seconds)
            found["requests"] = len(kept) / self.seconds
            found |= self._costs()
        return found

    def _costs(self) -> dict[str, float]:
        """CPU time, and where a request waits for its first piece: means in milliseconds."""
        spent = self.spent
        first, queue, prefill = (
            MS * total / max(1, spent.requests)
            for total in (spent.first_s, spent.queue_s, spent.prefill_s)
        )
        return {
            "front_cpu": MS * spent.front_s / len(self.ttft),
            "engine_cpu": MS * spent.engine_s / sum(self.tokens),
            "outside": float(np.mean(self.ttft)) - first,
            "inside": first - queue - prefill,
            "queue": queue,
            "prefill": prefill,
        }


class Memory(_Frozen):
    """Of all processes of a server, in MiB."""

    peak: float
    """Sum of the processes' own peaks of resident memory; what they share counts in each."""
    proportional: float
    """At the end; what processes share counts once."""


class Run(_Frozen):
    """One server's life: started, asked once, put under every load, stopped."""

    arm: str
    repetition: int
    listens_s: float
    """From the start to an open port."""
    first_answer_s: float
    """From the start to the end of the first answer."""
    memory: Memory
    cells: dict[str, Requests] = Field(default_factory=dict)


class Saturation(_Frozen):
    """How many requests a second stock vLLM answers at most."""

    requests_per_s: float


class Many(_Frozen):
    """Several servers at once, one for each refusal setting."""

    servers: int
    memory: Memory


class Setup(_Frozen):
    """What must not change between runs whose figures are put together."""

    machine: str
    versions: dict[str, str]
    checkpoint: str
    options: dict[str, Any]


Kind = TypeVar("Kind", bound=_Frozen)
Line = Setup | Saturation | Run | Many
_LINE: TypeAdapter[Line] = TypeAdapter(Line)


class Journal:
    """The file of lines in the folder `folder`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.lines: list[Line] = []
        if self._path.is_file():
            whole, _, cut_off = self._path.read_text(encoding="utf-8").rpartition("\n")
            self.lines = [_LINE.validate_json(text) for text in whole.splitlines()]
            if cut_off:
                self._path.write_text(whole + "\n" if whole else "", encoding="utf-8")

    def add(self, line: Line) -> None:
        """Append a line, and have it on disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line.model_dump_json() + "\n")
        self.lines.append(line)

    def runs(self) -> list[Run]:
        """In the order in which they were made."""
        return [line for line in self.lines if isinstance(line, Run)]

    def first(self, kind: type[Kind]) -> Kind | None:
        """The first line of a kind, or None."""
        return next((line for line in self.lines if isinstance(line, kind)), None)


def of_bench(result: Mapping[str, Any], control_tokens: Sequence[int], spent: Spent) -> Requests:
    """What `bench serve --save-detailed` found. Raises ValueError if no request was answered.

    control_tokens: how many each answer has in front that `usage` counts and nobody can read.
    """
    errors: Sequence[str] = result["errors"]
    tokens = [
        counted - own for counted, own in zip(result["output_lens"], control_tokens, strict=True)
    ]
    whole = [at for at, text in enumerate(errors) if not text and tokens[at] > 0]
    if not whole:
        raise ValueError(f"no request was answered; the first error: {(errors or [''])[0]!r}")
    ttft = [result["ttfts"][at] for at in whole]
    gaps = [result["itls"][at] for at in whole]
    # The empty piece, and behind it the control token's, which is empty as well.
    empty = [1 + control_tokens[at] for at in whole]
    return Requests(
        seconds=result["duration"],
        failed=len(errors) - len(whole),
        ttft=tuple(MS * value for value in ttft),
        first_text=tuple(
            MS * (value + sum(own[:before]))
            for value, own, before in zip(ttft, gaps, empty, strict=True)
        ),
        gap=tuple(MS * sum(own[1:2]) for own in gaps),
        e2e=tuple(MS * result["latencies"][at] for at in whole),
        tokens=tuple(tokens[at] for at in whole),
        # `bench serve` gathers `delta.content`; a refusal streams `delta.refusal`. An answer that
        # the model ends at once has no text either, and one token: its end.
        refused=tuple(not result["generated_texts"][at] and tokens[at] > 1 for at in whole),
        spent=spent,
    )
