#!/usr/bin/env bash
# Debian's Chromium, in which the playground is tested; without it those tests are skipped.
set -euo pipefail
if command -v chromium || command -v chromium-browser || command -v google-chrome; then
  exit
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get; then
  echo "Chromium is not installed: the playground's tests will be skipped" >&2
  exit
fi
apt-get update -qq
apt-get install -qq --yes --no-install-recommends chromium
