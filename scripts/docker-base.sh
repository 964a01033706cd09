#!/usr/bin/env bash
# Make a stand-in for a base image where no image registry answers: scripts/docker-base.sh NAME.
# It is Debian 12 with Python, from the machine's own Debian mirror and with its certificates;
# debootstrap wants root. Good enough to try a Dockerfile, not to publish an image.
set -euo pipefail
name=${1:?usage: scripts/docker-base.sh NAME}
packages=python3,python3-venv,python3-pip,ca-certificates
trusted=/etc/ssl/certs/ca-certificates.crt

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debootstrap --variant=minbase --include="$packages" bookworm "$work/root" >"$work/log" 2>&1 ||
  { tail "$work/log" >&2 && exit 1; }
cp "${SSL_CERT_FILE:-$trusted}" "$work/root$trusted"
tar --directory "$work/root" --one-file-system --create . |
  docker import --change "ENV PIP_CERT=$trusted SSL_CERT_FILE=$trusted" - "$name"
