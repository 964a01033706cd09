"""A place where a server sends its traces: OpenTelemetry's protocol over HTTP."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_S = 30


class Collector:
    """Keeps every span that it is sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._spans: list[Span] = []

    @property
    def environment(self) -> dict[str, str]:
        """For the server: the protocol, and not to wait long."""
        return {
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }

    def add(self, body: bytes) -> None:
        """Take in what a server sends."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self._spans.extend(scope.spans)

    def spans(self, trace_id: str) -> dict[str, Span]:
        """The spans of a trace by name, as soon as there are two."""
        end = time.monotonic() + WAIT_S
        found: dict[str, Span] = {}
        while len(found) < 2 and time.monotonic() < end:
            time.sleep(0.1)
            own = [span for span in self._spans if span.trace_id.hex() == trace_id]
            found = {span.name: span for span in own}
        return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.add(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{listener.server_port}/v1/traces")
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def attributes(span: Span) -> dict[str, Any]:
    """A span's attributes as plain values."""
    found = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        if kind == "array_value":
            value = [getattr(one, one.WhichOneof("value")) for one in value.values]
        found[each.key] = value
    return found
