"""`demur-serve`: vLLM's server with the refusal gate put in."""

import sys
from collections.abc import Sequence

from server import hangup

USAGE = """\
usage: demur-serve CHECKPOINT [any flag of `vllm serve`]

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
The dtype is the calibration's unless you give one. And flags of our own:
  --refusal-policy FILE  default rates and bounds, for everybody and by API key (YAML); a
                         changed file is read again at SIGHUP
  --refusal-text SOURCE  generated: a refusal has the model's own words (the default); template:
                         a text by category, for the price of one token
  --refusal-templates FILE
                         those texts, by language (YAML), instead of the checkpoint's; a changed
                         file is read again at SIGHUP
  --mirror-refusals      put a refusal's text into content too, for clients that drop `refusal`
  --content-filter-results
                         each choice also says what was filtered in Azure OpenAI's shape
  --score-sample SHARE   prompts that are looked at for drift and rates in /metrics (0.05, but at
                         most one in 10 seconds)
  --request-log FILE     write a line of JSON for each request, without its messages; - is standard
                         output
  --request-log-prompts  with its messages
  --max-body-mib MIB     largest body of a request; more is a 413
  --body-timeout S       seconds within which a body must arrive; else a 408
  --no-playground        do not serve the playground, a page at /

example: demur-serve checkpoints/demo --port 8000 --enforce-eager
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until it is stopped. Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
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


if __name__ == "__main__":
    sys.exit(main())
