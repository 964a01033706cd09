#!/usr/bin/env bash
# Make .venv from requirements-cpu.lock: scripts/install.sh [PYTHON]. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/dependencies.sh "${1:-python3}" .venv requirements-cpu.lock
.venv/bin/python -m pip --disable-pip-version-check install \
  --no-deps --no-build-isolation --editable .
