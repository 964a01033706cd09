"""Runs with figures that a test can reckon with."""

from benchmarks.serving.results import Memory, Requests, Run, Spent

MEMORY = Memory(peak=900.0, proportional=700.0)


SPENT = Spent(front_s=0.4, engine_s=1.1, requests=5, first_s=0.04, queue_s=0.005, prefill_s=0.025)
"""Of four requests and one that was looked at for its scores."""


def requests(
    step_ms: float = 10.0, *, count: int = 4, tokens: int = 11, refused: int = 0, first: int = 2
) -> Requests:
    """Answers of `tokens` tokens, a step each; the first token comes with step `first`."""
    at_first = first * step_ms
    return Requests(
        seconds=1.0,
        failed=0,
        ttft=(step_ms,) * count,
        first_text=(at_first,) * count,
        gap=(step_ms if tokens > 1 else 0.0,) * count,
        e2e=(at_first + step_ms * (tokens - 1),) * count,
        tokens=(tokens,) * count,
        refused=(True,) * refused + (False,) * (count - refused),
        spent=SPENT,
    )


def run(arm: str, repetition: int, **cells: Requests) -> Run:
    return Run(
        arm=arm,
        repetition=repetition,
        listens_s=20.0,
        first_answer_s=21.0,
        memory=MEMORY,
        cells=cells,
    )
