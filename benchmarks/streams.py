"""What a whole streamed response costs the front end: stock vLLM's handler beside ours.

    python -m benchmarks.streams [--checkpoint DIR] [--tokens 1 128] [--repeats 300]

Both applications, all of their middleware among it, stand on one engine in one process, and are
asked in turn: two processes would differ by where their memory happens to lie. The engine proves
the gate and then gives way to a script, since it is the same for both: outputs with a control token
first, and a token of text each. CPU time of the thread that serves, without sockets and HTTP.
Medians in microseconds.
"""

import argparse
import asyncio
import json
import os
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import uvloop
from fastapi import FastAPI
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.api_server.entry import build_async_engine_client
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.reasoning import ReasoningParserManager

from benchmarks.checkpoint import add_checkpoint
from benchmarks.front_end import BODY
from server import launch
from server.checkpoint import Checkpoint
from server.routes import CHAT, PLUGIN
from training.evaluation.report import markdown_table

FLAGS = ("--served-model-name", BODY["model"], "--enforce-eager", "--no-enable-prefix-caching")
TOKENS = (1, 128)
REPEATS = 300
TEXT = " word"
TOKEN = 100
PROMPT_IDS = [11] * 64
US = 1e6


class Script:
    """Stands for the engine."""

    def __init__(self) -> None:
        self.control: int | None = None
        """The token that the gate has forced, if it has."""
        self.tokens = 1
        """Of the text behind it."""

    async def generate(
        self, _prompt: Any, _params: Any, request_id: str, **_: Any
    ) -> AsyncIterator[RequestOutput]:
        """As the engine's client does."""
        forced = [] if self.control is None else [(self.control, "")]
        tokens = [*forced, *[(TOKEN, TEXT)] * self.tokens]
        for left, (token, text) in zip(reversed(range(len(tokens))), tokens, strict=True):
            output = CompletionOutput(
                index=0,
                text=text,
                token_ids=[token],
                cumulative_logprob=None,
                logprobs=None,
                finish_reason=None if left else "length",
            )
            yield RequestOutput(request_id, None, PROMPT_IDS, None, [output], finished=not left)


@dataclass(frozen=True)
class Asked:
    """One kind of response."""

    app: FastAPI
    control: int | None
    refused: bool
    settings: dict[str, Any]

    async def time(self, script: Script, tokens: int) -> float:
        """Seconds of CPU time that a response takes. Raises ValueError if it is another one."""
        script.control, script.tokens = self.control, tokens
        body = BODY | self.settings | {"max_completion_tokens": tokens}
        start = time.thread_time()
        pieces = await respond(self.app, json.dumps(body).encode())
        spent = time.thread_time() - start
        field = b'"refusal":' if self.refused else b'"content":'
        found = sum(field + json.dumps(TEXT).encode() in piece for piece in pieces)
        if found != tokens:
            raise ValueError(f"{found} pieces of {field.decode()}text, not {tokens}: {pieces}")
        return spent


async def respond(app: FastAPI, body: bytes) -> list[bytes]:
    """The pieces of a response; the client stays until its end."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": CHAT,
        "raw_path": CHAT.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }
    sent: list[Any] = []
    requests = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        return next(requests, None) or await asyncio.Future[Any]()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return [message.get("body", b"") for message in sent]


async def applications(
    engine: EngineClient, stock: Namespace, ours: Namespace
) -> tuple[FastAPI, FastAPI]:
    """Stock vLLM's and ours, as each makes its own."""
    tasks = await engine.get_supported_tasks()
    found = []
    for args, plugins in ((stock, ""), (ours, PLUGIN)):
        os.environ["VLLM_PLUGINS"] = plugins
        app = build_app(args, tasks, engine.model_config)
        await init_app_state(engine, app.state, args, tasks)
        found.append(app)
    return found[0], found[1]


async def compare(
    stock: Namespace, ours: Namespace, checkpoint: Checkpoint, lengths: Sequence[int], repeats: int
) -> list[tuple[str, ...]]:
    """Rows of the table: lengths, and the kinds' medians."""
    ReasoningParserManager.import_reasoning_parser(ours.reasoning_parser_plugin)
    script, control = Script(), checkpoint.control
    async with build_async_engine_client(ours) as engine:
        theirs, own = await applications(engine, stock, ours)
        engine.generate = script.generate  # type: ignore[method-assign, assignment]
        answered = {"refusal_rates": 0}
        kinds = (
            Asked(theirs, control.respond, refused=False, settings={}),
            Asked(theirs, control.respond, refused=False, settings={}),
            Asked(own, control.respond, refused=False, settings=answered),
            Asked(own, control.refuse[0], refused=True, settings={}),
        )
        return [_row(tokens, await _times(kinds, script, tokens, repeats)) for tokens in lengths]


async def _times(
    kinds: Sequence[Asked], script: Script, tokens: int, repeats: int
) -> npt.NDArray[np.float64]:
    """[repeats, kinds] microseconds, in turn, every second time backwards."""
    found = np.empty((repeats + 1, len(kinds)))
    for turn in range(repeats + 1):
        for kind in range(len(kinds))[:: 1 if turn % 2 else -1]:
            found[turn, kind] = US * await kinds[kind].time(script, tokens)
    return found[1:]


def _row(tokens: int, times: npt.NDArray[np.float64]) -> tuple[str, ...]:
    stock, *others = np.median(times, axis=0)
    ratios = (f"{value:.0f}; {value / stock:.3f}" for value in others)
    return (str(tokens), f"{stock:.0f}", *ratios)


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add_checkpoint(parser)
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args()
    cli_env_setup()  # type: ignore[no-untyped-call]
    try:
        checkpoint = launch.load_checkpoint(str(arguments.checkpoint))
    except launch.LaunchError as error:
        raise SystemExit(f"benchmarks.streams: {error}") from error
    ours = launch.parse([str(checkpoint.path), *FLAGS])
    ours.api_server_count = 1
    stock = deepcopy(ours)
    gate = launch.gate_for(ours)
    launch.put_gate_in(ours, checkpoint, launch.load_policy(ours, checkpoint).everybody, gate)
    launch.compile_nothing_in_vain(eager=True)
    found = uvloop.run(compare(stock, ours, checkpoint, arguments.tokens, arguments.repeats))
    title = "Streamed responses, microseconds of the front end, and how many times stock vLLM's"
    head = ("tokens", "stock", "the same again", "Demur, answered", "Demur, refused")
    for line in markdown_table(title, head, found):
        print(line)


if __name__ == "__main__":
    main()
