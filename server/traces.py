"""The gate's decision as a span beside vLLM's own (`--otlp-traces-endpoint`).

vLLM (0.32) ends its span inside the engine's front end, where nothing can be added; ours has the
same parent, the client's `traceparent`.
"""

import time
from typing import Any

from fastapi import Request
from vllm.tracing import SpanKind, extract_trace_context, extract_trace_headers, instrument_manual

from server.turn import Trace, Turn

SPAN = "refusal_decision"
_ANSWERED = ""
"""Category of a choice that was answered: span attributes have no null."""


def begin(raw_request: Request | None) -> Trace:
    """Note when a request came, and whose trace it is part of."""
    headers = {} if raw_request is None else extract_trace_headers(raw_request.headers)
    return Trace(time.time_ns(), headers)


def end(trace: Trace, turn: Turn, names: tuple[str, ...]) -> None:
    """Write the span of a request that is over."""
    choices = [choice for _, choice in sorted(turn.choices.items())]
    categories = [_ANSWERED if each.category is None else names[each.category] for each in choices]
    attributes: dict[str, Any] = {
        "demur.scope": turn.scope,
        "demur.refused": any(categories),
        "demur.categories": categories,
        "demur.positions": [each.position if each.refused else -1 for each in choices],
    }
    for name, threshold in zip(names, turn.steering.thresholds, strict=True):
        attributes[f"demur.threshold.{name}"] = threshold
    for name, rate in (turn.steering.effective_rates or {}).items():
        attributes[f"demur.effective_rate.{name}"] = rate
    instrument_manual(
        span_name=SPAN,
        start_time=trace.started_ns,
        attributes=attributes,
        context=extract_trace_context(trace.headers),
        kind=SpanKind.SERVER,
    )
