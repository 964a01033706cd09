"""One engine over two workers (tensor parallel), for a model that reasons, without a prefix cache,
with refusals mirrored into `content`, Azure's annotations, and every prompt looked at.
tests/e2e/test_policy.py has two engines (data parallel).
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e import scripted
from tests.e2e.calls import (
    ANSWER,
    CHAT,
    EVERY,
    HELLO,
    MODEL,
    REFUSE,
    TEMPLATE,
    ask,
    pieces,
    streamed,
)
from tests.e2e.collector import Collector, attributes, collecting
from tests.e2e.server import IN_WORKERS, Server, client_of, cores, serving

SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"const": 1}}}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as listening:
        yield listening


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("reasoning")
    scripted.build(folder / "checkpoint", respond_with="<think>")
    flags = ["--served-model-name", MODEL, "--tensor-parallel-size", "2", "--mirror-refusals"]
    flags += ["--reasoning-parser", "deepseek_r1", "--no-enable-prefix-caching"]
    flags += ["--content-filter-results", "--score-sample", "1"]
    flags += ["--otlp-traces-endpoint", collector.url]
    # A core for each worker; and a list of plugins that leaves ours out.
    environment = {"VLLM_CPU_OMP_THREADS_BIND": "{}|{}".format(*cores()), "VLLM_PLUGINS": "another"}
    environment |= IN_WORKERS | collector.environment
    with serving(folder / "checkpoint", folder, flags, environment) as running:
        yield running


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with client_of(server) as client:
        yield client


def message(done: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = done["choices"][0]["message"]
    return found


def test_an_answer_thinks_first(http: httpx.Client) -> None:
    said = message(ask(http, **ANSWER))
    assert said["reasoning"] == "hmm"
    assert said["content"] == "One two three four"
    assert said["refusal"] is None
    chunks = streamed(http, **ANSWER)
    assert pieces(chunks, "reasoning") == "hmm"
    assert pieces(chunks, "content") == "One two three four"


def test_a_refusal_comes_before_the_thinking(http: httpx.Client) -> None:
    done = ask(http, **REFUSE)
    assert done["choices"][0]["refusal_details"]["position"] == 0
    assert message(done)["refusal"] == "No way"
    assert message(done)["reasoning"] is None


def test_a_refusal_is_mirrored(http: httpx.Client) -> None:
    assert message(ask(http, **REFUSE))["content"] == "No way"
    chunks = streamed(http, **REFUSE)
    assert pieces(chunks, "refusal") == pieces(chunks, "content") == "No way"


def test_a_template_is_mirrored_and_may_come_behind_thinking(http: httpx.Client) -> None:
    text = scripted.TEMPLATES.languages["en"]["safety"]
    said = message(ask(http, **TEMPLATE, **REFUSE))
    assert said["content"] == said["refusal"] == text
    chunks = streamed(http, **TEMPLATE, **REFUSE)
    assert pieces(chunks, "refusal") == pieces(chunks, "content") == text
    chunks = streamed(http, **TEMPLATE, **EVERY)
    assert pieces(chunks, "reasoning") == "hmm"
    assert pieces(chunks, "content") == f"One two{text}"
    assert pieces(chunks, "refusal") == text


def test_a_grammar_starts_behind_the_thinking(http: httpx.Client) -> None:
    said = message(ask(http, response_format=SCHEMA, **ANSWER))
    assert said["reasoning"] == "hmm"
    assert said["content"] == "1"
    assert message(ask(http, response_format=SCHEMA, **REFUSE))["refusal"] == "No way"


def test_every_token_refuses_in_the_middle(http: httpx.Client) -> None:
    details = ask(http, **EVERY)["choices"][0]["refusal_details"]
    # Behind <think> hmm </think> One two.
    assert details == {"refused": True, "category": "safety", "position": 5}


def test_both_workers_decide_alike_again_and_again(http: httpx.Client) -> None:
    for settings in [ANSWER, REFUSE] * 4:
        details = ask(http, temperature=1, n=3, **settings)["choices"]
        refused = [choice["refusal_details"]["refused"] for choice in details]
        assert refused == [settings is REFUSE] * 3


def test_choices_carry_azures_annotation(http: httpx.Client) -> None:
    (refused,) = ask(http, **REFUSE)["choices"]
    expected = {"safety": {"filtered": True, "detected": True}}
    assert refused["content_filter_results"].items() >= expected.items()
    (answered,) = ask(http, **ANSWER)["choices"]
    assert not any(each["filtered"] for each in answered["content_filter_results"].values())


def counted(http: httpx.Client, name: str) -> float:
    """The sum of a metric over its labels."""
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_metrics_count_decisions_rejections_and_scores(http: httpx.Client) -> None:
    names = ('demur_decisions_total{category="safety"', "demur_rejected_requests_total{")
    seen = 'demur_score_count{category="safety"}'
    before = [counted(http, name) for name in (*names, seen)]
    ask(http, n=2, temperature=1, **REFUSE)
    streamed(http, **REFUSE)
    assert http.post(CHAT, json={"messages": [], "echo": True}).status_code == 400
    after = [counted(http, name) for name in (*names, seen)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [3, 1, 2]
    assert counted(http, "demur_score_failures_total") == 0


@pytest.mark.parametrize("stream", [False, True])
def test_the_decision_is_a_span_of_the_clients_trace(
    http: httpx.Client, collector: Collector, *, stream: bool
) -> None:
    trace_id, parent = f"{7 + stream:032x}", f"{5:016x}"
    headers = {"traceparent": f"00-{trace_id}-{parent}-01"}
    fields = {"messages": HELLO, "temperature": 1, "n": 2, "stream": stream}
    assert http.post(CHAT, json=fields | REFUSE, headers=headers).status_code == 200
    spans = collector.spans(trace_id)
    assert spans.keys() == {"llm_request", "refusal_decision"}
    decision = spans["refusal_decision"]
    assert decision.parent_span_id.hex() == parent
    found = attributes(decision)
    assert found["demur.refused"] is True
    assert found["demur.categories"] == ["safety", "safety"]
    assert found["demur.positions"] == [0, 0]
    assert found["demur.scope"] == "first_token"
    assert found["demur.threshold.safety"] == float("-inf")
