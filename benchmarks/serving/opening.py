"""How stock vLLM's answers begin: by a control token, if the checkpoint has learnt to write one.

That token takes a step of the engine with the gate and without it. Stock vLLM counts it in `usage`
and sends an empty piece for it, Demur does neither: a reader of answers sees it in none.
"""

from collections.abc import Collection, Sequence

import httpx

from benchmarks.serving.load import MODEL
from training.progress import Progress

TIMEOUT_S = 120


def control_tokens(url: str, prompts: Sequence[str], control: Collection[str]) -> list[int]:
    """1 for each prompt whose answer begins with one of the tokens `control`, 0 for others.

    url: of stock vLLM, or of a proxy that asks it. Raises httpx.HTTPError if it does not answer.
    """
    distinct = dict.fromkeys(prompts)
    found = {}
    with (
        httpx.Client(base_url=url, timeout=TIMEOUT_S) as client,
        Progress("how stock vLLM's answers begin", len(distinct), unit="prompt") as progress,
    ):
        for prompt in distinct:
            found[prompt] = int(_first_token(client, prompt) in control)
            progress.advance()
    return [found[prompt] for prompt in prompts]


def _first_token(client: httpx.Client, prompt: str) -> str:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "max_completion_tokens": 1,
        "temperature": 0,
        "skip_special_tokens": False,
    }
    answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()
    text: str = answer["choices"][0]["message"]["content"]
    return text
