#!/usr/bin/env bash
# run.sh: the storefronts' journey in Debian's Chromium, against an environment that is up.
#
#   tests/browser/run.sh [--OPTION…] [FILE…]      all *.test.mjs unless some are named; options are node's
#
# Called by `make browser-test` beside `make run`. Elsewhere than there, the environment says where things are: STATE
# (.dev unless told otherwise), DEXAR_SHOP, DEXAR_API, NOVO_SHOP, NOVO_API, SANDBOX; SCREENSHOTS names a directory for
# pictures of the pages. One test takes the database of STATE away for a moment and brings it back.
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
if ((${#files[@]} == 0)); then files=("$here"/*.test.mjs); fi
exec node --test --test-concurrency=1 "${options[@]}" "${files[@]}"
