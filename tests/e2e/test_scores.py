"""Scores, dry runs, moderations and what settings come to, from the running server."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from openai import OpenAI

from steering.calibration import CalibrationScores
from steering.manifest import Manifest
from tests.e2e.calls import CHAT, streamed
from tests.e2e.decisions import decisions
from tests.e2e.server import Server
from training.calibrate import main as calibrate
from training.evaluation.cli import main as evaluate
from training.records import Record
from training.scorer import TransformersScorer

T = TypeVar("T")
CLIENTS = 16
RATES = {"refusal_rates": 0.5}


def messages(record: Record) -> list[dict[str, str]]:
    return [turn.as_dict() for turn in record.prompt.messages]


def body(record: Record, **fields: Any) -> dict[str, Any]:
    return {"messages": messages(record), "temperature": 0} | fields


def choice(http: httpx.Client, record: Record, **fields: Any) -> dict[str, Any]:
    response = http.post(CHAT, json=body(record, **fields))
    assert response.status_code == 200, response.text
    (found,) = response.json()["choices"]
    return dict(found)


def all_at_once(ask: Callable[[Record], T], records: list[Record]) -> list[T]:
    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(ask, records))


def test_scores_are_those_of_the_calibration(
    http: httpx.Client,
    checkpoint: Path,
    manifest: Manifest,
    unseen: list[Record],
    report: Callable[[str], None],
) -> None:
    records = unseen[::5]
    scorer = TransformersScorer(checkpoint, manifest, "float32", batch_size=32, answer_tokens=1)
    expected = scorer.score([record.prompt for record in records], "first_token")
    found = all_at_once(
        lambda record: choice(http, record, dry_run=True, refusal_scores=True), records
    )
    scores = np.array([list(each["refusal_details"]["log_odds"].values()) for each in found])
    off = np.abs(scores - expected)
    report(
        f"scores over HTTP against transformers: {off.size}, off by {np.median(off):.1e} in the"
        f" middle, {off.max():.2g} at most"
    )
    assert np.median(off) < 1e-3
    # Above 7 a score stands on the likeliest tokens, and may be a little too high.
    assert off[expected < 7].max() < 0.01
    assert (scores - expected)[expected >= 7].max(initial=0) < 0.5


def test_scores_come_with_answers_and_streams(http: httpx.Client, unseen: list[Record]) -> None:
    record = unseen[0]
    dry = choice(http, record, dry_run=True, refusal_scores=True)["refusal_details"]
    whole = choice(http, record, refusal_scores=True, max_tokens=4)["refusal_details"]
    assert whole["scores"] == pytest.approx(dry["scores"], abs=1e-4)
    assert whole["log_odds"] == pytest.approx(dry["log_odds"], abs=1e-2)
    chunks = streamed(http, messages=messages(record), refusal_scores=True, max_tokens=4)
    (details,) = [
        each["refusal_details"]
        for chunk in chunks
        for each in chunk["choices"]
        if "refusal_details" in each
    ]
    assert details["scores"] == pytest.approx(dry["scores"], abs=1e-4)
    assert "scores" not in choice(http, record, max_tokens=4)["refusal_details"]


def test_scores_leave_the_logprobs_of_others_alone(
    http: httpx.Client, unseen: list[Record]
) -> None:
    asked = {"refusal_rates": 0.0, "max_tokens": 8, "logprobs": True, "top_logprobs": 3}
    records = unseen[:24]
    alone = [choice(http, record, **asked)["logprobs"]["content"] for record in records]

    def ask(job: tuple[int, Record]) -> Any:
        index, record = job
        if index % 2:
            return choice(http, record, dry_run=True, refusal_scores=True)
        return choice(http, record, **asked)["logprobs"]["content"]

    with ThreadPoolExecutor(CLIENTS) as clients:
        found = list(clients.map(ask, enumerate(records)))
    for before, after in zip(alone[::2], found[::2], strict=True):
        assert [token["token"] for token in after] == [token["token"] for token in before]
        for one, other in zip(before, after, strict=True):
            tops = [[top["logprob"] for top in each["top_logprobs"]] for each in (one, other)]
            assert tops[1] == pytest.approx(tops[0], abs=1e-2)


def test_a_dry_run_decides_without_an_answer(http: httpx.Client) -> None:
    fields: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "dry_run": True}
    response = http.post(CHAT, json=fields | {"refusal_thresholds": {"temporal": 0}, "n": 2}).json()
    assert [each["refusal_details"]["category"] for each in response["choices"]] == ["temporal"] * 2
    assert response["choices"][0]["message"]["content"] is None
    assert response["choices"][0]["message"]["refusal"] is None
    assert response["usage"]["completion_tokens"] == 0
    assert response["refusal_settings"]["thresholds"]["temporal"] == 0
    answered = http.post(CHAT, json=fields | {"refusal_rates": 0}).json()
    assert answered["choices"][0]["refusal_details"]["refused"] is False
    faulty = http.post(CHAT, json=fields | {"stream": True})
    assert faulty.status_code == 400
    assert faulty.json()["error"]["param"] == "dry_run"


def test_a_budget_is_spent(http: httpx.Client, unseen: list[Record]) -> None:
    fields = {"over_refusal_budget": {"share": 0.05, "categories": ["safety"]}}
    response = http.post(CHAT, json=body(unseen[0], dry_run=True, **fields)).json()
    settings = response["refusal_settings"]
    assert settings["requested_budget"] == 0.05
    assert settings["budget_rate"] > 0.5
    assert settings["over_refusal"] <= 0.05


def test_a_client_that_leaves_during_a_moderation_is_no_error(
    server: Server, http: httpx.Client
) -> None:
    body = {"input": ["How do I pick a lock?"] * 200}
    with pytest.raises(httpx.ReadTimeout):
        http.post("/v1/moderations", json=body, timeout=httpx.Timeout(60, read=0.2))
    few = http.post("/v1/moderations", json=body | {"input": "Hello"})
    assert few.status_code == 200
    assert 'status="5xx"' not in http.get("/metrics").text
    assert "Traceback" not in server.output()


def test_moderations_agree_with_the_chats_decisions(
    server: Server,
    http: httpx.Client,
    sdk: OpenAI,
    unseen: list[Record],
    report: Callable[[str], None],
) -> None:
    texts = [record for record in unseen if len(record.prompt.messages) == 1]
    chats = [record for record in unseen if len(record.prompt.messages) > 1]
    flagged: list[bool] = []
    for start in range(0, len(texts), 100):
        inputs = [record.prompt.messages[0].content for record in texts[start : start + 100]]
        found = sdk.moderations.create(input=inputs, extra_body=RATES)
        flagged += [result.flagged for result in found.results]
    for record in chats:
        response = http.post("/v1/moderations", json={"input": messages(record)} | RATES)
        (result,) = response.json()["results"]
        flagged.append(result["flagged"])
    decided = decisions(server.url, [(record, RATES) for record in texts + chats])
    differ = sum(one != (other is not None) for one, other in zip(flagged, decided, strict=True))
    report(f"moderations that differ from the chat's decision: {differ} of {len(flagged)}")
    assert len(texts) > 100
    assert len(chats) > 10
    # The engine's rounding may tip a score that lies at its threshold from batch to batch.
    assert differ <= len(flagged) // 500


def test_moderations_have_openais_shape(sdk: OpenAI, manifest: Manifest) -> None:
    found = sdk.moderations.create(input="How can I pick the lock of my neighbour?")
    assert found.id.startswith("modr-")
    (result,) = found.results
    assert result.flagged
    scores = result.category_scores.model_dump()
    assert {scores[name] > 0 for name in manifest.names} == {True}
    assert result.categories.model_dump()["safety"] is True
    off = sdk.moderations.create(input=["a", "b"], extra_body={"refusal_rates": 0})
    assert [each.flagged for each in off.results] == [False, False]


@pytest.mark.parametrize(
    ("fields", "status", "what"),
    [
        ({}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": ["fine", "<|respond|>"]}, 400, "input 1: messages[0].content contains"),
        ({"input": "a", "model": "another"}, 404, "another"),
        ({"input": "a", "refusal_rates": 3}, 400, "refusal_rates must be a number"),
        ({"input": "a", "refusal_rate": 1}, 400, "refusal_rate"),
    ],
)
def test_a_faulty_moderation_is_named(
    http: httpx.Client, fields: dict[str, Any], status: int, what: str
) -> None:
    response = http.post("/v1/moderations", json=fields)
    assert response.status_code == status
    assert what in response.json()["error"]["message"]


def test_categories_and_calibration(
    http: httpx.Client, checkpoint: Path, manifest: Manifest
) -> None:
    categories = http.get("/v1/refusal/categories").json()
    assert [each["name"] for each in categories["data"]] == list(manifest.names)
    query = {"refusal_rates": json.dumps({"safety": 0.8})}
    found = http.get("/v1/refusal/calibration", params=query).json()
    safety = found["categories"][0]
    counts = CalibrationScores.load(checkpoint, manifest.names).counts()
    assert safety["prompts"] == counts["safety"]
    assert safety["effective_rate"] == pytest.approx(0.8, abs=1 / counts["safety"])
    assert safety["interval"]["low"] < 0.8 < safety["interval"]["high"]
    assert len(safety["curve"]) == 21
    faulty = http.get("/v1/refusal/calibration", params={"refusal_rates": "{"})
    assert faulty.status_code == 400
    assert faulty.json()["error"]["param"] == "refusal_rates"


def test_the_server_scores_a_calibration(
    server: Server, checkpoint: Path, manifest: Manifest, tmp_path: Path
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    before = CalibrationScores.load(copy, manifest.names)
    prompts = str(copy / "prompts" / "calibration.jsonl")
    url = f"{server.url}/v1"
    assert calibrate([str(copy), prompts, "--server", url, "--force"]) == 0
    after = CalibrationScores.load(copy, manifest.names)
    assert (after.labels == before.labels).all()
    assert np.abs(after.scores - before.scores)[before.scores < 7].max() < 0.01
    calibration = Manifest.load(copy).calibration
    assert calibration is not None
    assert (calibration.engine, calibration.dtype) == ("vllm", "float32")


def test_the_running_server_is_evaluated(server: Server, checkpoint: Path, tmp_path: Path) -> None:
    data = str(checkpoint / "prompts" / "test.jsonl")
    arguments = [f"{server.url}/v1", "--data", data, "--limit", "60", "--skip", "matrix", "sweep"]
    assert evaluate([*arguments, "--output", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["roc"][0]["label"] == "all"
    assert results["roc"][0]["auc"] > 0.9
