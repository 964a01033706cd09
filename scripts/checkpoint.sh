#!/usr/bin/env bash
# Train and calibrate a checkpoint, as far as that is not done: scripts/checkpoint.sh RECIPE FOLDER
# [flags of `demur-train run`]. The commands are looked up on the PATH.
set -euo pipefail
recipe=$1 folder=$2

demur-train run "$recipe" --output "$folder" "${@:3}"
grep -q '"calibration": {' "$folder/refusal.json" ||
  demur-calibrate "$folder" "$folder/prompts/calibration.jsonl"
