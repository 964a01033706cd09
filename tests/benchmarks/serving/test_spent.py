import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.serving.spent import HISTOGRAMS, Meter, sums_of

BURNS = """
import sys, time
sys.stdin.readline()
while time.process_time() < 0.3: pass
print(flush=True)
sys.stdin.readline()
"""
TWO_ENGINES = """\
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf"} 2
vllm:time_to_first_token_seconds_sum{engine="0"} 0.5
vllm:time_to_first_token_seconds_count{engine="0"} 2
vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf"} 1
vllm:time_to_first_token_seconds_sum{engine="1"} 0.25
vllm:time_to_first_token_seconds_count{engine="1"} 1
"""


def test_samples_of_several_engines_are_added_up() -> None:
    found = sums_of(TWO_ENGINES)
    assert found[HISTOGRAMS["first_s"]] == 0.75
    assert found[HISTOGRAMS["requests"]] == 3


@pytest.fixture
def url() -> Iterator[str]:
    """Where /metrics counts one more request, of half a second, each time that it is read."""
    read = 0

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal read
            read += 1
            values = {"requests": read, "first_s": read / 2, "queue_s": 0, "prefill_s": 0.25}
            text = "".join(f"{HISTOGRAMS[field]} {value}\n" for field, value in values.items())
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Metrics) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("title", "busy", "idle"),
    [("VLLM::EngineCore", "engine_s", "front_s"), ("x", "front_s", "engine_s")],
)
def test_what_is_spent_while_the_meter_runs(url: str, title: str, busy: str, idle: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BURNS, title],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        meter = Meter(SimpleNamespace(process=process, url=url))  # type: ignore[arg-type]
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        found = meter.read()
    assert getattr(found, busy) > 0.1
    assert getattr(found, idle) == 0
    assert (found.requests, found.first_s, found.queue_s) == (1, 0.5, 0)
