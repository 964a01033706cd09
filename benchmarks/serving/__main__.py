"""Run what is missing, and write the report: see benchmarks/serving/cli.py."""

import sys

from benchmarks.serving.cli import options

if __name__ == "__main__":
    chosen = options()
    from benchmarks.serving.bench import run

    sys.exit(run(chosen))
