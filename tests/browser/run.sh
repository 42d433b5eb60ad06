#!/usr/bin/env bash
# Runs the browser tests in Debian's Chromium, against a running environment.
#
#   tests/browser/run.sh [--OPTION…] [FILE…]      all *.test.mjs by default; options are those of node
#
# `make test` runs it in a throwaway environment, `make browser-test` against `make run`. Environment variables: STATE (the state
# directory, .dev by default), DEXAR_SHOP, DEXAR_API, NOVO_SHOP, NOVO_API, SANDBOX; SCREENSHOTS names a directory for
# screenshots. The journeys of both shops run in parallel, then faults.test.mjs, which stops and starts the services of STATE.
#
# Certificates are always verified, and no install script of a package is run.

set -euo pipefail

fail() {
  printf 'browser: %s\n' "$*" >&2
  exit 1
}

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
STATE=$(realpath -m -- "${STATE:-$here/../../.dev}")
export STATE
export CA=${CA:-$STATE/ca.pem}
export NODE_EXTRA_CA_CERTS=$CA

"$here/../env/packages.sh" chromium node certutil emoji curl
[[ -r $CA ]] || fail "$CA is missing; start the environment with make run"
for url in "${DEXAR_SHOP:-https://localhost:4200}" "${NOVO_SHOP:-https://localhost:4201}"; do
  curl -sS --noproxy '*' --max-time 5 --cacert "$CA" -o /dev/null "$url/" || fail "failed to reach $url; start the environment with make run"
done

files=() options=()
for argument in "$@"; do
  if [[ $argument == --* ]]; then options+=("$argument"); else files+=("$(realpath -- "$argument")"); fi
done
cd -- "$here"
if ! cmp -s package-lock.json node_modules/.installed; then
  npm ci --ignore-scripts --no-audit --no-fund
  cp -- package-lock.json node_modules/.installed
fi

jobs=() output=''
# shellcheck disable=SC2317 # reached through the trap
finish() {
  local status=$?
  trap '' INT TERM HUP
  for job in "${jobs[@]}"; do kill -TERM "$job" 2>/dev/null || true; done
  wait
  if [[ -n $output ]]; then rm -f -- "$output"; fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# journey FILE…: runs test files in one process with one browser.
journey() {
  node --test-reporter=spec "${options[@]}" all.mjs "$@" &
  jobs+=($!)
}

status=0
if ((${#files[@]})); then
  journey "${files[@]}"
  wait "${jobs[0]}" || status=$?
  jobs=()
  exit "$status"
fi

output=$(mktemp)
SHOP=dexar journey journey-*.test.mjs qr.test.mjs texts.test.mjs
SHOP=novo journey journey-*.test.mjs >"$output" 2>&1
wait "${jobs[0]}" || status=$?
wait "${jobs[1]}" || status=$?
cat -- "$output"
jobs=()
journey faults.test.mjs
wait "${jobs[0]}" || status=$?
jobs=()
exit "$status"
