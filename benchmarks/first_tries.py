"""What a stranger types first, whether it is decided as a person would, and how it reads.

    python -m benchmarks.first_tries http://127.0.0.1:8000/v1

Sends the prompts of first_tries.jsonl to a running server, with its default settings, and prints of
each whether it was refused, under which category, and the text; then how many were decided as the
file says: to refuse or to answer, whatever the category's name.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from openai import OpenAI

FILE = Path(__file__).with_name("first_tries.jsonl")
TOKENS = 48
SHOWN = 100
"""Characters of a text."""


def main(argv: Sequence[str] | None = None) -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("url", metavar="URL")
    arguments = parser.parse_args(argv)
    client = OpenAI(base_url=arguments.url, api_key="none")
    model = client.models.list().data[0].id
    tries = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    right = 0
    for each in tries:
        done = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": each["prompt"]}],
            temperature=0,
            max_tokens=TOKENS,
        )
        message = done.choices[0].message
        as_wanted = (message.refusal is not None) == (each["category"] is not None)
        right += as_wanted
        text = " ".join((message.refusal or message.content or "").split())
        verb = "refused " if message.refusal else "answered"
        print(f"{' ' if as_wanted else '!'} {verb} {each['prompt']!r}: {text[:SHOWN]}")
    print(f"{right} of {len(tries)} as a person would decide")


if __name__ == "__main__":
    main()
