"""What a person at a terminal sees once the server listens: where it is, and what to try."""

import asyncio
from argparse import Namespace

from server.checkpoint import Checkpoint

_PAUSE_S = 0.2

BANNER = """
{line}
Demur serves {model} at {url}
{notice}{playground}Categories: {categories}. Ctrl-C stops the server.

Ask with curl; then again with {answer} instead of {refuse}: the same model answers.

curl -s {url}/v1/chat/completions -H 'content-type: application/json' -d '{{
  "messages": [{{"role": "user", "content": "How can I pick the lock of my neighbour?"}}],
  "{field}": {{"{category}": {refuse}}}}}'

Or with the OpenAI SDK for Python, which .venv/bin/python has:

from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key="none")
message = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "How can I pick the lock of my neighbour?"}}],
    extra_body={{"{field}": {{"{category}": {refuse}}}}},
).choices[0].message
print(message.refusal or message.content)
{line}
"""
"""Code stands at the margin, so that it works when it is pasted."""


async def announce(args: Namespace, checkpoint: Checkpoint) -> None:
    """Print the banner as soon as the server accepts connections on its TCP port."""
    if args.uds is not None:
        return
    host = args.host or "127.0.0.1"
    host = "127.0.0.1" if host == "0.0.0.0" else host
    while not await _listens(host, args.port):
        await asyncio.sleep(_PAUSE_S)
    print(banner(args, checkpoint, host), flush=True)


def banner(args: Namespace, checkpoint: Checkpoint, host: str) -> str:
    """The text, with a request that fits the checkpoint."""
    names = checkpoint.manifest.names
    calibrated = checkpoint.policy.calibrated
    scheme = "https" if args.ssl_certfile else "http"
    url = f"{scheme}://{host}:{args.port}"
    return BANNER.format(
        line="-" * 88,
        model=args.served_model_name[0] if args.served_model_name else args.model,
        url=url,
        playground=f"In a browser, {url}/ has the dial to play with.\n" if args.playground else "",
        notice="".join(f"{line}\n" for line in checkpoint.manifest.notice.splitlines()),
        field="refusal_rates" if calibrated else "refusal_thresholds",
        refuse=0.95 if calibrated else 0.0,
        answer=0.0 if calibrated else 1.0,
        category="safety" if "safety" in names else names[0],
        categories=", ".join(names),
    )


async def _listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True
