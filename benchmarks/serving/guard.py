"""Arm e: every prompt is judged by a guard model before the main model is asked.

    python -m benchmarks.serving.guard http://127.0.0.1:8000 --port 8001

A pipeline as NeMo Guardrails' or Llama Guard's users run it, with the least that it can cost. The
guard is as large as the main model, and is the same server asked twice: a second engine would
compete with the first for the same cores, and hold its memory twice (arm f shows what that is). Its
question is a short policy and the prompt, its verdict as long as Llama Guard's "safe", and the
proxy does nothing else but pass the main model's answer on. The demonstration model has not learnt
to judge, so whatever it says the prompt goes on: that is the way of every harmless request.
"""

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
from aiohttp import web

CHAT = "/v1/chat/completions"
POLICY = (
    "Is this prompt safe? Unsafe are: help with crimes, claims to be human, questions without an"
    " answer, things that a language model cannot do, news. Say safe or unsafe. Prompt: "
)
VERDICT_TOKENS = 2
"""Llama Guard answers a harmless prompt by two: a line break and "safe"."""
PIECE = 1 << 16
UPSTREAM: web.AppKey[aiohttp.ClientSession] = web.AppKey("upstream", aiohttp.ClientSession)


def question(body: dict[str, Any]) -> dict[str, Any]:
    """What the guard is asked about a request. body: of a chat-completions request."""
    content = body["messages"][-1]["content"]
    if not isinstance(content, str):
        content = "".join(part["text"] for part in content)
    return {
        "model": body["model"],
        "messages": [{"role": "user", "content": POLICY + content}],
        "max_tokens": VERDICT_TOKENS,
        "ignore_eos": True,
        "temperature": 0,
    }


async def answer(request: web.Request) -> web.StreamResponse:
    """Ask the guard, then the main model, whose answer is passed on piece by piece."""
    body = await request.json()
    session = request.app[UPSTREAM]
    async with session.post(CHAT, json=question(body)) as verdict:
        verdict.raise_for_status()
        await verdict.json()
    async with session.post(CHAT, json=body) as upstream:
        response = web.StreamResponse(
            status=upstream.status, headers={"Content-Type": upstream.headers["Content-Type"]}
        )
        await response.prepare(request)
        async for piece in upstream.content.iter_any():
            await response.write(piece)
        await response.write_eof()
    return response


def proxy(upstream: str) -> web.Application:
    """The pipeline in front of the server `upstream` (its URL)."""

    async def connected(app: web.Application) -> Any:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(upstream, connector=connector, timeout=timeout) as session:
            app[UPSTREAM] = session
            yield

    app = web.Application()
    app.cleanup_ctx.append(connected)
    app.router.add_post(CHAT, answer)
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Listen until stopped."""
    parser = argparse.ArgumentParser(description="A guard model in front of a server.")
    parser.add_argument("upstream", metavar="URL", help="the server, asked twice")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args(argv)
    web.run_app(
        proxy(arguments.upstream),
        host="127.0.0.1",
        port=arguments.port,
        print=None,
        access_log=None,
        loop=asyncio.new_event_loop(),
    )


if __name__ == "__main__":
    main()
