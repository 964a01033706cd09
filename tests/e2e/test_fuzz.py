"""Random requests: none is answered by a 5xx, and none gets past the gate."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import hypothesis.strategies as st

from server.dial_fields import DialFields
from server.schema import ChatRequest
from tests.e2e.calls import CHAT, HELLO, MODEL, REFUSE
from tests.e2e.seed import SEED
from tests.e2e.server import Server
from tests.e2e.test_attacks import held

SCHEMA: dict[str, Any] = ChatRequest.model_json_schema()
OURS = {"messages", "model", "stream", "dry_run", *DialFields.model_fields}


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "integer": st.integers(-3, 130),
    "number": st.floats(-3, 3),
    "string": st.text(max_size=8),
    "array": st.lists(scalars, max_size=3),
    "object": st.dictionaries(st.text(max_size=4), scalars, max_size=3),
}


def documented(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of the kind that the OpenAPI document names, not all of them allowed."""
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    if "anyOf" in schema:
        return st.one_of([documented(one) for one in schema["anyOf"]])
    if schema.get("type") == "array" and "items" in schema:
        return st.lists(documented(schema["items"]), max_size=3)
    return BY_TYPE.get(schema.get("type", ""), anything)


def field(name: str) -> st.SearchStrategy[tuple[str, Any]]:
    return st.tuples(st.just(name), documented(SCHEMA["properties"][name]) | anything)


fields = st.lists(
    st.sampled_from(sorted(set(SCHEMA["properties"]) - OURS)).flatmap(field),
    min_size=1,
    max_size=3,
).map(dict)


def test_no_random_field_gets_past_the_gate(
    scripted_http: httpx.Client, report: Callable[[str], None]
) -> None:
    answers: Counter[int] = Counter()

    @hypothesis.seed(SEED)
    @hypothesis.settings(max_examples=500, deadline=None, database=None)
    @hypothesis.given(fields, st.booleans())
    def holds(extra: dict[str, Any], stream: bool) -> None:
        body = {"model": MODEL, "messages": HELLO, "max_tokens": 6} | extra
        body |= {"stream": stream} | REFUSE
        if not stream:
            body.pop("stream_options", None)
        answer = scripted_http.post(CHAT, json=body)
        answers[answer.status_code] += 1
        held(answer.status_code, answer.text)

    holds()
    assert answers[200]
    assert answers[400]
    report(f"random fields with a threshold of 0, seed {SEED}: {dict(answers)}; none answered")


def test_what_the_openapi_document_describes(
    scripted_server: Server, report: Callable[[str], None]
) -> None:
    """Schemathesis' own cases, good and bad, from the document that the server publishes."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", "--no-color"]
    command += [f"{scripted_server.url}/openapi.json", "--checks", "not_a_server_error"]
    command += ["--mode", "all", "--max-examples", "60", "--seed", str(SEED)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout
    summary = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert summary
    assert summary[1] == summary[2]
    report(f"schemathesis, seed {SEED}: {summary[0]}, no 5xx")
