#!/usr/bin/env bash
# Measures speeds and sizes. `make bench` builds the binaries and runs it.
#
# Each value is measured alternately with a reference in the same run, on a private PostgreSQL with full durability. Environment
# variables: ONLY=hot,cold runs some PARTS; ROUNDS=1 is quick; SAVE=1 stores the table and the plot in bench/. ITEMS is the number
# of imported items; DATA=FILE.tsv[.xz] takes their names from a table with the columns row, id, upcean, name, category_id,
# category_path, brand_id, brand_name.
#
# It writes to a temporary directory and to .dev/bench only, and stops what it started.

set -euo pipefail
cd "$(dirname "$0")/.."

readonly PARTS=(start import during growth hot h2 category handshakes idle cold cart session lists)
readonly ITEMS=${ITEMS:-80000}
readonly ONLY=${ONLY:-}
export ONLY
export PYTHONDONTWRITEBYTECODE=1
export ROUNDS=${ROUNDS:-5}
for number in ROUNDS ITEMS; do
  [[ ${!number} =~ ^[1-9][0-9]*$ ]] || { echo "bench: $number: expected a positive integer, not ${!number}" >&2; exit 2; }
done
for part in ${ONLY//,/ }; do
  [[ " ${PARTS[*]} " == *" $part "* ]] || { echo "bench: ONLY: unknown part $part; expected ${PARTS[*]}" >&2; exit 2; }
done
[[ $ONLY != *[[:space:]]* ]] || { echo 'bench: ONLY: separate parts with commas, without spaces' >&2; exit 2; }
# `make bench` checks the variables before it builds.
[[ ${1:-} != check ]] || exit 0
BINARY=$(realpath "${BRANDGATE_BIN:-${CARGO_TARGET_DIR:-target}/dist/brandgate}")
HANDSHAKES=$(realpath "${CARGO_TARGET_DIR:-target}/dist/examples/handshakes")
readonly BINARY HANDSHAKES

work=$(mktemp -d "${TMPDIR:-/var/tmp}/brandgate-bench.XXXXXX")
chmod 0755 "$work"
companions=()
stop_companions() { :; }
cleanup() {
  stop_companions
  tests/env/services.sh discard "$work/services" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

log() { printf '%s\n' "$*" >&2; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

mkdir -p "$work/services" "$work/brands" "$work/credentials"
tests/env/services.sh start "$work/services" --owner $$ --discard >/dev/null
# shellcheck source=/dev/null
. "$work/services/services.env"
tests/env/certs.sh "$work/certs" dexar novo >/dev/null
readonly ADMIN_URL=${PG_ADMIN_URL%/postgres}/brandgate
psql_admin() { "$PG_BIN/psql" -qXAt -v ON_ERROR_STOP=1 "$ADMIN_URL" "$@"; }
"$PG_BIN/psql" -qX "$PG_ADMIN_URL" -c "create database brandgate template template0 encoding 'UTF8' locale 'C.UTF-8'"
brand_file() { # brand, listen address
  printf 'bench' >"$work/credentials/$1.database-password"
  chmod 0600 "$work/credentials/$1.database-password"
  cat <<TOML
name = "$1"
title = "$1"
listen = ["$2"]
public_url = "https://localhost"
storefront_url = "https://localhost"
origins = ["https://localhost"]
[tls]
certificate = "$work/certs/$1.pem"
key = "$work/certs/$1.key"
[database]
url = "postgresql://${PG_HOST//\//%2F}:$PG_PORT/brandgate"
password = "$1.database-password"
[redis]
url = "$REDIS_URL"
TOML
}
brand_file dexar 127.0.0.1:0 >"$work/brands/dexar.toml"
export CREDENTIALS_DIRECTORY=$work/credentials BRANDGATE_BRANDS=$work/brands RUST_LOG=warn
"$BINARY" migrate --admin-url "$ADMIN_URL" >/dev/null

# shellcheck source=bench/items.sh
. bench/items.sh
if [[ ,${ONLY:-start}, == *,start,* ]]; then
  mkdir "$work/two"
  for brand in dexar novo; do
    brand_file $brand "127.0.0.1:$(free_port)" >"$work/two/$brand.toml"
  done
  mapfile -t ports < <(sed -n 's/^listen.*:\([0-9]*\)"]$/\1/p' "$work/two"/*.toml)
  BRANDGATE_BRANDS=$work/two "$BINARY" migrate --admin-url "$ADMIN_URL" >/dev/null
  log "start"
  BRANDGATE_BRANDS=$work/two python3 bench/start.py "$BINARY" "$work/certs/ca.pem" /regions "${ports[@]}" >"$work/start.json"
fi
if [[ ,${ONLY:-import}, == *,import,* ]]; then
  # shellcheck source=bench/import.sh
  . bench/import.sh
fi
if [[ ,${ONLY:-during}, == *,during,* ]]; then
  # shellcheck source=bench/during.sh
  . bench/during.sh
fi
if [[ ,${ONLY:-growth}, == *,growth,* ]]; then
  # shellcheck source=bench/growth.sh
  . bench/growth.sh
fi
if [[ -z $ONLY || $(tr , "\n" <<<"$ONLY" | grep -vcx -e import -e start -e growth -e during) -gt 0 ]]; then
  # shellcheck source=bench/speed.sh
  . bench/speed.sh
fi
