"""An operator's policy, by API key, with data parallel 2: two engines and two API servers."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.operator_policy import sha256_of
from tests.e2e.calls import CHAT, HELLO, REFUSE
from tests.e2e.faults import LIMIT_S, InFlight, wait_for
from tests.e2e.server import Server, serving

KIOSK, OTHER = "kiosk-key", "other-key"
FILE = f"""\
categories:
  temporal: {{default: 0, ceiling: 0.5}}
keys:
  kiosk:
    sha256: {sha256_of(KIOSK)}
    scope: every_token
    scopes: [every_token]
    categories:
      safety: {{default: 1, floor: 1}}
"""
FLOOR = FILE.replace("temporal: {default: 0, ceiling: 0.5}", "safety: {floor: 0.2}")
TEXTS = """\
default: fr
languages:
  fr: {safety: Je ne peux pas vous aider., temporal: Je ne sais pas.}
"""
"""The operator's own refusals, which are everybody's default here."""
SHORT = TEXTS.replace("Je ne peux pas vous aider.", "Non.")
READ = ("Refusal policy: read", "File of refusal templates: read")
KEPT = (
    "The old refusal policy stays in force",
    "The old file of refusal templates stays in force",
)
"""What an API server says of files that it takes, and of those that it does not."""
RELOAD_S = 30
MANY = 8


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def texts(file: Path) -> Path:
    path = file.with_name("texts.yaml")
    path.write_text(TEXTS)
    return path


@pytest.fixture(scope="module")
def server(
    scripted_checkpoint: Path, file: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    flags = ["--api-key", KIOSK, OTHER, "--refusal-policy", str(file)]
    flags += ["--refusal-text", "template", "--refusal-templates", str(texts)]
    flags += ["--data-parallel-size", "2"]  # two engines, and an API server for each
    flags += ["--shutdown-timeout", "100"]
    with serving(scripted_checkpoint, tmp_path_factory.mktemp("server"), flags) as running:
        yield running


Post = Callable[..., httpx.Response]


@pytest.fixture
def post(server: Server) -> Post:
    def send(key: str | None, **fields: Any) -> httpx.Response:
        # A connection of its own: either API server may take it.
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        body = {"messages": HELLO, "temperature": 0, "max_tokens": 6} | fields
        return httpx.post(f"{server.url}{CHAT}", json=body, headers=headers, timeout=60)

    return send


def test_a_key_is_needed(post: Post) -> None:
    assert post(None).status_code == 401
    assert post("stolen").status_code == 401


def test_each_key_has_its_defaults(post: Post) -> None:
    for _ in range(8):
        kiosk, other = post(KIOSK).json(), post(OTHER).json()
        assert kiosk["choices"][0]["refusal_details"]["category"] == "safety"
        assert kiosk["refusal_settings"]["scope"] == "every_token"
        assert not other["choices"][0]["refusal_details"]["refused"]
        assert other["refusal_settings"]["scope"] == "first_token"


@pytest.mark.parametrize(
    ("key", "fields", "field", "what"),
    [
        (KIOSK, {"refusal_rates": {"safety": 0.9}}, "refusal_rates", "below the floor of 1"),
        (KIOSK, {"refusal_rates": 0}, "refusal_rates", "below the floor of 1"),
        (KIOSK, {"refusal_thresholds": {"safety": 1}}, "refusal_thresholds", "the floor of 1"),
        (KIOSK, {"refusal_scope": "first_token"}, "refusal_scope", "must be every_token"),
        (OTHER, {"refusal_rates": {"temporal": 0.6}}, "refusal_rates", "above the ceiling of 0.5"),
        (OTHER, {"refusal_thresholds": {"temporal": 0}}, "refusal_thresholds", "the ceiling"),
    ],
)
def test_nobody_passes_a_bound(
    post: Post, key: str, fields: dict[str, Any], field: str, what: str
) -> None:
    answer = post(key, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field
    assert what in answer.json()["error"]["message"]


def test_within_the_bounds_a_client_is_free(post: Post) -> None:
    assert post(OTHER, **REFUSE).json()["choices"][0]["refusal_details"]["category"] == "safety"
    assert post(OTHER, refusal_rates={"temporal": 0.5}).status_code == 200


def said(answer: httpx.Response) -> tuple[str, int]:
    """A refusal's text, and how many tokens the client is told that it has."""
    done = answer.json()
    return done["choices"][0]["message"]["refusal"], done["usage"]["completion_tokens"]


def test_a_refusal_has_the_operators_words_unless_the_models_are_asked_for(
    server: Server, post: Post
) -> None:
    assert said(post(OTHER, **REFUSE)) == ("Je ne peux pas vous aider.", 0)
    assert said(post(OTHER, refusal_text="generated", **REFUSE)) == ("No way", 3)
    answer = post(OTHER, refusal_language="en")
    assert answer.status_code == 400
    assert "must be one of fr, not 'en'" in answer.json()["error"]["message"]
    headers = {"Authorization": f"Bearer {OTHER}"}
    view = httpx.get(f"{server.url}/v1/refusal/categories", headers=headers).json()
    assert (view["refusal_text"], view["refusal_languages"]) == ("template", ["fr"])


@pytest.mark.parametrize("rank", ["0", "1", "2", "-1", "one"])
def test_a_client_that_names_an_engine_is_served_or_told(server: Server, rank: str) -> None:
    headers = {"Authorization": f"Bearer {OTHER}", "X-data-parallel-rank": rank}
    body = {"messages": HELLO, "max_tokens": 4} | REFUSE
    answer = httpx.post(f"{server.url}{CHAT}", json=body, headers=headers, timeout=60)
    if answer.status_code == 200:
        assert answer.json()["choices"][0]["refusal_details"]["refused"]
    assert answer.status_code in (200, 400)


def test_a_changed_file_is_read_again_by_every_api_server(
    server: Server, file: Path, texts: Path, post: Post
) -> None:
    replace(server, {file: FLOOR, texts: SHORT}, READ)
    for _ in range(8):
        assert said(post(OTHER, **REFUSE)) == ("Non.", 0)
        assert post(OTHER, refusal_rates={"temporal": 0.6}).status_code == 200
        assert post(OTHER, refusal_rates={"safety": 0.1}).status_code == 400


def test_a_faulty_file_changes_nothing(server: Server, file: Path, texts: Path, post: Post) -> None:
    replace(server, {file: FLOOR, texts: SHORT}, READ)
    wrong = {
        file: "categories:\n  safety: {default: 7}\n",
        texts: "default: fr\nlanguages: {fr: {safety: Non.}}\n",
    }
    replace(server, wrong, KEPT)
    assert "line 2, categories.safety.default" in server.output()
    assert "line 2, languages.fr: category 'temporal' has no text" in server.output()
    for _ in range(8):
        assert said(post(OTHER, **REFUSE)) == ("Non.", 0)
        assert post(OTHER, refusal_rates={"safety": 0.1}).status_code == 400
        assert post(KIOSK, refusal_rates=0).status_code == 400


def test_no_key_stands_in_the_log(server: Server) -> None:
    assert KIOSK not in server.output()


def test_sigterm_lets_requests_finish_at_every_api_server(
    server: Server, file: Path, texts: Path
) -> None:
    """The last test here, since it ends the module's server."""
    replace(server, {file: FILE, texts: TEXTS}, READ)
    many = {"n": MANY, "stream": True}  # seconds of work, and more than for a stream to be read
    requests = [InFlight(server, many, OTHER) for _ in range(4)]  # some at each API server
    wait_for(lambda: all("One" in each.text for each in requests), LIMIT_S, "all are written")
    os.kill(server.process.pid, signal.SIGTERM)
    for each in requests:
        each.wait()
        assert each.text.count('"finish_reason":"length"') == MANY, server.output()[-4000:]
        assert each.text.rstrip().endswith("data: [DONE]")
    assert server.wait_until_ended() == 0
    assert server.leftovers() == []


def replace(server: Server, texts: Mapping[Path, str], says: Sequence[str]) -> None:
    """Write files anew, and return once both API servers have said so to a SIGHUP."""
    before = server.output()
    for path, text in texts.items():
        path.write_text(text)
    os.kill(server.process.pid, signal.SIGHUP)
    wait_for(
        lambda: all(server.output().count(line) >= before.count(line) + 2 for line in says),
        RELOAD_S,
        f"{says}",
    )
