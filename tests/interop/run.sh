#!/usr/bin/env bash
# Runs public libraries and tools against the gateway and the simulators of a running environment.
#
#   tests/interop/run.sh DIRECTORY [--OPTION…] [FILE…]      with brandgate and sandbox in DIRECTORY
#
# Without files it runs all *.test.mjs; options are those of node. `make test` runs it in a throwaway environment,
# `make interop-test` against `make run`. Environment variables: those of tests/browser/run.sh, and BANK_DOCUMENTS, a directory
# with the bank's own descriptions (bank_description.mjs).
#
# Certificates are always verified, and no install script of a package is run.

set -euo pipefail

fail() {
  printf 'interop: %s\n' "$*" >&2
  exit 1
}

[[ -x ${1:-}/brandgate && -x $1/sandbox ]] || fail 'usage: tests/interop/run.sh DIRECTORY [--OPTION…] [FILE…]'
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
BINARIES=$(realpath -- "$1")
STATE=$(realpath -m -- "${STATE:-$here/../../.dev}")
export BINARIES STATE
shift
export CA=${CA:-$STATE/ca.pem}
export NODE_EXTRA_CA_CERTS=$CA

"$here/../env/packages.sh" node
[[ -r $CA ]] || fail "$CA is missing; start the environment with make run"

files=() options=()
for argument in "$@"; do
  if [[ $argument == --* ]]; then options+=("$argument"); else files+=("$(realpath -- "$argument")"); fi
done
cd -- "$here"
if ! cmp -s package-lock.json node_modules/.installed; then
  npm ci --ignore-scripts --no-audit --no-fund
  cp -- package-lock.json node_modules/.installed
fi

job='' output=''
# shellcheck disable=SC2317 # reached through the trap
finish() {
  local status=$?
  trap '' INT TERM HUP
  if [[ -n $job ]]; then kill -TERM "$job" 2>/dev/null || true; fi
  wait
  if [[ -n $output ]]; then rm -f -- "$output"; fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

run=(node --test --test-reporter=spec "${options[@]}")
status=0
if ((${#files[@]})); then
  "${run[@]}" "${files[@]}" || status=$?
  exit "$status"
fi
# The payment mostly waits for the jobs of the workers.
output=$(mktemp)
"${run[@]}" bank.test.mjs >"$output" 2>&1 &
job=$!
"${run[@]}" bot.test.mjs document.test.mjs login.test.mjs || status=$?
wait "$job" || status=$?
job=''
cat -- "$output"
exit "$status"
