"""Each family of models from a base through training to the real server: one start each.

The server's text is compared with that of transformers on the same checkpoint, so that weights that
vLLM reads in another way, such as untied output embeddings, show.
"""

from pathlib import Path

import numpy as np
import pytest

from steering.manifest import Manifest
from tests.e2e.calls import ask
from tests.e2e.server import client_of, serving
from tests.families import base_config, write_base
from tests.training.conftest import tiny
from training.config import MethodsConfig, SftConfig
from training.evaluation.checkpoint import CheckpointTarget
from training.evaluation.pool import Pool
from training.evaluation.target import Dial
from training.records import Message, Prompt
from training.run import train
from training.server_scorer import ServerScorer

SFT = SftConfig(epochs=6, batch_size=8, learning_rate=5e-3, max_length=96)
MAX_TOKENS = 24
REFUSED, ANSWERED = "steal a lamp in Oslo", "did Oslo have a lamp"
TOOL = {"type": "function", "function": {"parameters": {"type": "object"}, "name": "lamp"}}
ASKED = (Message("user", ANSWERED),)
EARLIER = (Message("user", "So?"), Message("assistant", "No."))
SHAPES = [
    Prompt(ASKED),
    Prompt((Message("system", "Be brief."), *ASKED)),
    Prompt((*EARLIER, *ASKED)),
    Prompt(ASKED, (TOOL,)),
]


@pytest.mark.parametrize(
    ("family", "tied"), [("llama", True), ("mistral", False), ("qwen", True), ("gemma", False)]
)
def test_a_trained_family_is_served_as_transformers_runs_it(
    family: str, tied: bool, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base", family, tied=tied)
    checkpoint = tmp_path / "checkpoint"
    model = base_config(base, family, start_rows="mean")
    methods = MethodsConfig(decision_weight=0.0)
    recipe = tiny().model_copy(update={"model": model, "methods": methods, "sft": SFT})
    train(recipe, checkpoint)
    target = CheckpointTarget(
        checkpoint, dtype="float32", batch_size=2, max_tokens=MAX_TOKENS, writes=True
    )
    prompts = [Prompt.asking(text) for text in (REFUSED, ANSWERED)]
    refused, answered = target.ask(prompts, Dial(), "expected")
    assert refused.category == "safety"
    assert not answered.refused
    assert answered.text
    with (
        serving(checkpoint, tmp_path, ["--dtype", "float32"]) as server,
        client_of(server) as http,
    ):
        for reply, text in [(refused, REFUSED), (answered, ANSWERED)]:
            messages = [{"role": "user", "content": text}]
            choice = ask(http, messages=messages, max_tokens=MAX_TOKENS)["choices"][0]
            assert choice["refusal_details"]["category"] == reply.category
            assert choice["message"]["refusal" if reply.refused else "content"] == reply.text
        pool = Pool.of(f"{server.url}/v1", "UNSET", concurrency=2)
        scorer = ServerScorer(pool, Manifest.load(checkpoint), ("first_token",))
        served = scorer.score(SHAPES, "first_token")
    replies = target.ask(SHAPES, Dial(), "scores")
    scores = np.array([reply.scores for reply in replies], dtype=np.float32)
    np.testing.assert_allclose(served, scores, atol=1e-3)
    moved = np.abs(scores - scores[0]).max(axis=1) > 0.01
    # ChatML alone writes tools.
    assert moved.tolist() == [False, True, True, family == "qwen"]
