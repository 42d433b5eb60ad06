#!/usr/bin/env bash
# run.sh: the shops' journeys in Debian's Chromium, against an environment that is up.
#
#   tests/browser/run.sh [--OPTION…] [FILE…]      all *.test.mjs unless some are named; options are node's
#
# Called by `make test` in an environment of its own (tests/env/throwaway.sh), and by `make browser-test` beside `make run`.
# Where things are: STATE (.dev unless told otherwise), DEXAR_SHOP, DEXAR_API, NOVO_SHOP, NOVO_API, SANDBOX; SCREENSHOTS names
# a directory for pictures of the pages. The journeys of both shops run beside each other. Then, alone, faults.test.mjs takes
# the bank, the database and Redis of STATE away for a moment and brings them back.
#
# It must never switch off the verification of certificates, and never run a script of a package.

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
[[ -r $CA ]] || fail "$CA is missing: make run makes it, and has to be up"
for url in "${DEXAR_SHOP:-https://localhost:4200}" "${NOVO_SHOP:-https://localhost:4201}"; do
  curl -sS --noproxy '*' --max-time 5 --cacert "$CA" -o /dev/null "$url/" || fail "nobody serves $url: make run has to be up"
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

# journey FILE…: in one process with one browser.
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
SHOP=dexar journey journey-*.test.mjs qr.test.mjs
SHOP=novo journey journey-*.test.mjs >"$output" 2>&1
wait "${jobs[0]}" || status=$?
wait "${jobs[1]}" || status=$?
cat -- "$output"
jobs=()
journey faults.test.mjs
wait "${jobs[0]}" || status=$?
jobs=()
exit "$status"
