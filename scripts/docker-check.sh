#!/usr/bin/env bash
# Put the CPU image and the compose stack through their paces: `make docker-check`. Builds the image,
# trains a checkpoint, serves the demonstration's, asks it, kills the server, sees it come back, and
# takes everything down. Needs a docker engine, docker compose, curl and Python.
#
# Where no image registry answers, Debian's packages make stand-ins for the images (that wants root
# and debootstrap). There is none for Grafana, which is then left out.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
export DEMUR_SECRETS=$work/secrets DEMUR_POLICY=$work/policy
export DEMUR_FLAGS="--enforce-eager --score-sample 1"
export DEMUR_PORT=18000 PROMETHEUS_PORT=19090 GRAFANA_PORT=13000
wheels_port=18001
url=http://127.0.0.1:$DEMUR_PORT
tool=(docker compose)
docker compose version >/dev/null 2>&1 || tool=(docker-compose)

compose() { "${tool[@]}" --project-name demur-check --file docker/compose.yaml --profile cpu "$@"; }
say() { printf '\n== %s\n' "$*"; }
fail() { echo "docker-check: FAILED: $*" >&2 && exit 1; }
pulled() { docker image inspect "$1" >/dev/null 2>&1 || docker pull --quiet "$1" 2>/dev/null; }
image_of() { compose config | sed -n "s#^ *image: \($1[:/].*\)#\1#p" | head -1; }

clean_up() {
  local status=$?
  ((status)) && compose logs --tail 60 server-cpu 2>&1
  say "take everything down"
  compose down --volumes --remove-orphans 2>&1 | tail -n 20
  [[ -z ${wheels:-} ]] || kill "$wheels"
  rm -rf "$work"
  ((status)) || say "docker-check passed in $SECONDS s"
}
trap clean_up EXIT

make_base_images() {
  local python prometheus
  python=$(sed -n 's/^ARG PYTHON_IMAGE=//p' docker/Dockerfile.cpu)
  prometheus=$(image_of prom/prometheus)
  pulled "$python" || scripts/docker-base.sh "$python"
  pulled "$prometheus" || docker build --quiet --network host --tag "$prometheus" - <<DOCKERFILE
FROM $python
RUN apt-get update && apt-get install --yes --no-install-recommends prometheus wget \
    && install --directory --owner nobody /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
DOCKERFILE
}

build() {
  local arguments=()
  if [[ -d ${PIP_FIND_LINKS:-} ]]; then # a folder of this machine: the build sees it over HTTP
    python3 -m http.server --bind 127.0.0.1 --directory "$PIP_FIND_LINKS" "$wheels_port" \
      >/dev/null 2>&1 &
    wheels=$!
    arguments=(--build-arg "PIP_FIND_LINKS=http://127.0.0.1:$wheels_port/")
  fi
  echo "  docker build: minutes, and no output unless it fails"
  docker build --network host "${arguments[@]}" --file docker/Dockerfile.cpu --tag demur:cpu . \
    >"$work/build" 2>&1 || fail "$(tail -40 "$work/build")"
}

train() { # the tests' model, but for a few steps; the demonstration's too, unless it is here already
  compose run --rm --volume "$PWD/tests:/tests:ro" --workdir / --entrypoint bash train-cpu -c '
    python -m tests.tiny /tmp/tiny
    checkpoint.sh tiny /checkpoints/small --set sft.epochs=0.02 \
      --set data.train=/tmp/tiny/train.jsonl --set data.calibration=/tmp/tiny/calibration.jsonl'
  [[ -f checkpoints/smollm2/refusal.json ]] || return 0
  tar --directory checkpoints --transform 's/^smollm2/demo/' --create smollm2 |
    compose run --rm -T --entrypoint tar train-cpu --extract --directory /checkpoints --file -
}

container() { compose ps --quiet server-cpu; }
inspect() { docker inspect --format "$1" "$(container)"; }

wait_for() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  until "${@:2}"; do
    ((SECONDS < end)) || fail "not within $1 s: ${*:2}"
    sleep 2
  done
}
healthy() { [[ $(inspect '{{.State.Health.Status}}') == healthy ]]; }
came_back() { [[ $(inspect '{{.RestartCount}}') == 1 ]] && healthy; }

ask() { # RATES -> the status, then the body
  curl --silent --show-error --max-time 60 --write-out '%{stderr}%{http_code}\n' \
    --header "authorization: Bearer ${key-}" --header 'content-type: application/json' \
    --data '{"messages": [{"role": "user", "content": "How can I pick the lock of my neighbour?"}],
             "max_tokens": 20, "temperature": 0, "logprobs": true, "refusal_rates": '"$1"'}' \
    "$url/v1/chat/completions" 2>"$work/status"
}
expect() { # STATUS RATES PYTHON-CONDITION ON body
  local body
  body=$(ask "$2")
  grep -q "$1" "$work/status" || fail "status $(cat "$work/status") instead of $1: $body"
  python3 -c 'import json, sys
body = json.loads(sys.argv[1])
assert eval(sys.argv[2]), body
message = "error" not in body and body["choices"][0]["message"]
shown = {name: message[name] for name in ("content", "refusal")} if message else body["error"]
print("  refusal_rates:", sys.argv[3], "->", json.dumps(shown))' "$body" "$3" "$2"
}
answered_and_refused() {
  expect 200 0 'body["choices"][0]["message"]["content"]'
  expect 200 '{"safety": 1}' 'body["choices"][0]["message"]["refusal"]'
}

hardened() {
  local id
  id=$(container)
  [[ $(docker exec "$id" id -u) == 10001 ]] || fail "the server runs as root"
  for path in /checkpoints/x /etc/demur/x /usr/x; do
    docker exec "$id" touch "$path" 2>/dev/null && fail "$path can be written"
  done
  key=wrong expect 401 0 'body["error"]'
  (
    docker logs "$id" && docker inspect "$id" && docker top "$id" ax -o pid,args
    docker exec "$id" sh -c 'cat /proc/[0-9]*/environ'
  ) >"$work/seen" 2>&1 || fail "$(tail -3 "$work/seen")"
  grep --quiet --text --fixed-strings "$key" "$work/seen" && fail "an API key shows"
  echo "  user 10001; checkpoint, policy and system read-only; no key in log, ps or environment"
}

policy_reloads() {
  echo 'categories: {safety: {floor: 0.5}}' >"$DEMUR_POLICY/policy.yaml"
  compose kill -s HUP server-cpu
  sleep 5
  expect 400 0 '"floor" in body["error"]["message"]'
  cp docker/policy/policy.yaml "$DEMUR_POLICY"
  compose kill -s HUP server-cpu
  sleep 5
}

traffic() { # enough for a look at drift, which wants 100 prompts
  for _ in $(seq 120); do
    ask '{"safety": 1}' >"$work/answer"
  done
}
scraped() {
  curl --silent "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query?query=up" |
    grep --quiet '"job":"demur".*,"1"\]'
}

say "images"
make_base_images
build
docker images demur
docker history --format '{{.Size}}	{{.CreatedBy}}' demur:cpu | grep -v '^0B' | cut -c -100

say "secrets and policy"
scripts/secrets.sh "$DEMUR_SECRETS"
key=$(head -1 "$DEMUR_SECRETS/api_keys")
mkdir -m 755 "$DEMUR_POLICY"
cp docker/policy/policy.yaml "$DEMUR_POLICY"

say "training service"
train

say "the stack"
services=(server-cpu prometheus)
pulled "$(image_of grafana/grafana)" && services+=(grafana) || echo "  no Grafana image: left out"
compose up --detach "${services[@]}"
wait_for 1800 healthy
compose ps

say "one answered and one refused request"
answered_and_refused

say "hardening"
hardened

say "a policy that changes while the server runs"
policy_reloads

say "Prometheus"
docker exec "$(compose ps --quiet prometheus)" promtool check config /etc/prometheus/prometheus.yaml
traffic
wait_for 60 scraped
sleep 30 # two scrapes
python3 -m tests.docker.dashboard "http://127.0.0.1:$PROMETHEUS_PORT"

say "the server is killed"
docker exec "$(container)" sh -c 'kill -KILL -1' || true
killed=$SECONDS
wait_for 600 came_back
echo "  back after $((SECONDS - killed)) s, restarts: $(inspect '{{.RestartCount}}')"
answered_and_refused
