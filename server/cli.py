"""`demur-serve`: vLLM's server with the refusal gate put in."""

import argparse
import sys
from collections.abc import Sequence

from server import hangup
from server.flags import add_flags

USAGE = "demur-serve CHECKPOINT [any flag of `vllm serve`]"
DESCRIPTION = """\
Serve a refusal-token checkpoint over an OpenAI-compatible API. CHECKPOINT is a folder that
holds the model, refusal.json and, for refusal rates, the calibration scores.

A chat-completions request may carry
  refusal_rates        share of each category's prompts to refuse: a number, or a map by category
  refusal_thresholds   probability of the refuse token from which on to refuse, by category
  over_refusal_budget  share of harmless prompts that may be refused: refuse what that allows
  refusal_scope        first_token, or every_token if the checkpoint was trained for it
  refusal_scores       true: every category's probability comes along
  refusal_text         generated or template: whose words a refusal has
  refusal_language     of the template: one that the server has
  dry_run              true: the decision only, without an answer
and gets a refusal in message.refusal, as OpenAI's clients expect.

Flags are vLLM's own: --port 8000, --host, --api-key, --served-model-name, --dtype,
--tensor-parallel-size, --max-model-len ... ; `demur-serve --help=all` lists every one.
The dtype is the calibration's unless you give one.
"""
EXAMPLE = "example: demur-serve checkpoints/smollm2 --port 8000 --enforce-eager"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until it is stopped. Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_text(), end="")
        return 0 if arguments else 2
    hangup.hold()
    from server.engine_death import EngineDeathError
    from server.launch import LaunchError, serve

    try:
        serve(arguments)
    except (EngineDeathError, LaunchError) as error:
        print(f"demur-serve: {error}", file=sys.stderr)
        return 1
    return 0


def help_text() -> str:
    """What `demur-serve --help` prints."""
    parser = argparse.ArgumentParser(
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    add_flags(parser.add_argument_group("flags of our own").add_argument)
    return parser.format_help()


if __name__ == "__main__":
    sys.exit(main())
