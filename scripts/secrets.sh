#!/usr/bin/env bash
# Make the secrets of docker/compose.yaml, those that are not there yet: scripts/secrets.sh [FOLDER].
# The folder is its owner's alone; the files in it are readable, since each container reads its own
# under another user.
set -euo pipefail
folder=${1:-$(dirname "$0")/../docker/secrets}

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
write() { # FILE TEXT
  [[ -e $folder/$1 ]] || (umask 222 && echo "$2" >"$folder/$1")
}

(umask 077 && mkdir -p "$folder")
write metrics_key "$(random)"
write grafana_password "$(random)"
write api_keys "$(random && echo && cat "$folder/metrics_key")"
