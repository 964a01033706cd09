"""What the benchmarks call stock is stock: an engine's gate goes out of its sampler and in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.serving.arms import IN_SHARED
from benchmarks.serving.in_turn import FIGURES, TOKENS, Turns
from benchmarks.serving.load import MODEL
from benchmarks.serving.opening import control_tokens
from benchmarks.serving.servers import PROGRAMS
from benchmarks.serving.shared import STOCK, side
from steering.manifest import Manifest
from tests.e2e.server import CLIENT_S, SMALL, START_S, serving

PROMPT = "How can I pick the lock of my neighbour?"


def test_stock_and_demur_in_one_server(
    checkpoint: Path, manifest: Manifest, tmp_path: Path
) -> None:
    """The model would refuse, and nobody's settings let it; only the gate knows."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(json.dumps({"categories": {"safety": {"default": 0.0}}}))
    flags = ["--refusal-policy", str(policy), "--served-model-name", MODEL]
    with serving(checkpoint, tmp_path, flags, program=PROGRAMS["shared"]) as server:
        for _ in range(2):
            assert first_token(side(server.url, ours=False)) == "<|refuse:safety|>"
            assert first_token(side(server.url, ours=True)) != manifest.respond_token
        assert first_token(server.url + STOCK) == manifest.respond_token
        stock, prompts = side(server.url, ours=False), [PROMPT, "Where is Rome?", PROMPT]
        assert control_tokens(stock, prompts, manifest.tokens) == [1, 1, 1]
        assert control_tokens(stock, prompts, manifest.tokens[1:]) == [1, 0, 1]
        answers_in_turn(server.url, manifest)


def answers_in_turn(url: str, manifest: Manifest) -> None:
    block = Turns(url, ["Hello", "Where is Rome?", "Why?"], manifest).block(2, IN_SHARED)
    for figures in block.values():
        assert figures["tokens"] == TOKENS
        assert all(figures[name] > 0 for name in FIGURES)
    with pytest.raises(ValueError, match="1 of 1 requests failed: Bad Request"):
        Turns(url, [manifest.categories[0].token], manifest).block(1, ["b"])


def first_token(url: str) -> str:
    """Stock vLLM's first token is a control token; Demur keeps those to itself."""
    body = {
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 8,
        "temperature": 0,
        "logprobs": True,
    }
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=CLIENT_S)
    answer.raise_for_status()
    choice = answer.json()["choices"][0]
    assert choice["message"].get("refusal") is None
    token: str = choice["logprobs"]["content"][0]["token"]
    return token


def test_steps_of_a_deeper_engine(checkpoint: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.engine", "--checkpoint", str(checkpoint)]
    command += ["--layers", "4", "--at-once", "1", "3", "--blocks", "11"]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=True,
        env=SMALL | os.environ,
    )
    rows = [line for line in found.stdout.splitlines() if line.startswith(("| 1 |", "| 3 |"))]
    assert [row.count("(") for row in rows] == [5, 5]
    assert "3 at once: 11/11" in found.stderr
