#!/usr/bin/env python3
"""The images' entry point: `demur-serve` with the API keys of a secret, one key to a line.

The keys go to vLLM's parser inside this process: `ps`, `docker inspect` and the environment of the
engine's processes never show them, and vLLM (0.32) leaves them out of its log.
"""

import os
import sys
from pathlib import Path

from server.cli import main

SECRET = Path(os.environ.get("DEMUR_API_KEYS_FILE", "/run/secrets/api_keys"))


def with_keys(arguments: list[str], secret: Path) -> list[str]:
    """`arguments` and the keys in the file `secret`; as they are if there is no such file.

    Raises SystemExit, naming a line but no key, if the file holds none or one that a command line
    would take for a flag.
    """
    if not secret.exists():
        return arguments
    keys = [line.strip() for line in secret.read_text().splitlines()]
    for number, key in enumerate(keys, start=1):
        if key.startswith("-"):
            sys.exit(f"entrypoint: {secret}, line {number}: an API key cannot begin with '-'")
    if not any(keys):
        sys.exit(f"entrypoint: {secret} holds no API key: write one to a line, or mount no secret")
    return [*arguments, "--api-key", *filter(None, keys)]


if __name__ == "__main__":
    sys.exit(main(with_keys(sys.argv[1:], SECRET)))
