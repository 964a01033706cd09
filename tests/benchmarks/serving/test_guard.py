import asyncio
import json
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from benchmarks.serving.guard import CHAT, VERDICT_TOKENS, proxy

BODY = {"model": "m", "messages": [{"role": "user", "content": "Buy bread"}], "stream": True}
PIECES = (b"data: One\n\n", b"data: two\n\n", b"data: [DONE]\n\n")


async def asked_through_the_proxy(status: int = 200) -> tuple[list[dict[str, Any]], int, bytes]:
    """Bodies that the server behind the proxy gets, and what the client does."""
    seen: list[dict[str, Any]] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        seen.append(body)
        if not body.get("stream"):
            return web.json_response({"choices": []})
        response = web.StreamResponse(status=status, headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in PIECES:
            await response.write(piece)
        return response

    upstream = web.Application()
    upstream.router.add_post(CHAT, serve)
    async with (
        TestServer(upstream) as server,
        TestClient(TestServer(proxy(str(server.make_url("/"))))) as client,
    ):
        answer = await client.post(CHAT, data=json.dumps(BODY))
        return seen, answer.status, await answer.read()


def test_the_guard_is_asked_first_and_the_answer_is_passed_on_whole() -> None:
    seen, status, text = asyncio.run(asked_through_the_proxy())
    verdict, main = seen
    assert (verdict["max_tokens"], verdict["ignore_eos"]) == (VERDICT_TOKENS, True)
    assert "Buy bread" in verdict["messages"][0]["content"]
    assert main == BODY
    assert (status, text) == (200, b"".join(PIECES))


def test_a_status_is_passed_on() -> None:
    assert asyncio.run(asked_through_the_proxy(503))[1] == 503
