"""The routes of a plain vLLM server, which Demur takes away but for the allowed ones."""

from functools import cache

import pytest
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser


@cache
def stock_routes() -> frozenset[tuple[str, str]]:
    """(method, path) of all that vLLM registers, in its mode for developers too.

    HEAD comes with GET and is left out; what names no method, a mount say, stands under GET.
    """
    parser = make_arg_parser(FlexibleArgumentParser())  # type: ignore[no-untyped-call]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_SERVER_DEV_MODE", "1")
        stock = build_app(parser.parse_args([]), ("generate", "render"))
    return frozenset(
        (method, path)
        for route in stock.routes
        if (path := str(getattr(route, "path", "")))
        for method in set(getattr(route, "methods", None) or {"GET"}) - {"HEAD"}
    )
