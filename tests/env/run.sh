#!/usr/bin/env bash
# Runs both brands on this machine for development, until Ctrl-C.
#
#   tests/env/run.sh [DIRECTORY]      with brandgate and sandbox in it (default: target/release)
#
# Steps: missing packages, port checks, a private PostgreSQL and Redis (services.sh), certificates (certs.sh), secrets, brand
# files, the database, migrations, the demonstration catalogue, the sandbox, the workers, the gateway. State is kept in .dev/, so
# that the second start is quick. The last line, once everything is up, starts with `ready`.
#
# Environment variables, used by throwaway.sh: BRANDGATE_STATE, a state directory that is removed on exit; BRANDGATE_PORTS, eight
# ports in the order of PORTS; BRANDGATE_POLL_MS, the polling interval of the shops.
#
# On exit it stops everything that it started, the gateway first, the sandbox last, and nothing else. It writes only to the state directory
# (services.sh documents its exceptions) and changes no system setting.

set -euo pipefail

read -r -a PORTS <<<"${BRANDGATE_PORTS:-445 444 9445 4200 4201 4210 4225 9446}"
declare -rA API_PORTS=([dexar]=${PORTS[0]} [novo]=${PORTS[1]}) SHOP_PORTS=([dexar]=${PORTS[3]} [novo]=${PORTS[4]})
readonly ADMIN=127.0.0.1:${PORTS[2]} SANDBOX_PORT=${PORTS[5]} SMTP_PORT=${PORTS[6]}
readonly WORK_ADMIN=127.0.0.1:${PORTS[7]}
readonly LOWEST_PORT=$((API_PORTS[dexar] < API_PORTS[novo] ? API_PORTS[dexar] : API_PORTS[novo]))
declare -rA ACCENTS=([dexar]='#1f5fbf' [novo]='#0f7a4d')
readonly READY_TIMEOUT_SECONDS=60
readonly DRAIN_TIMEOUT_SECONDS=40
readonly POLL_SECONDS=0.05

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
env_scripts=$repo/tests/env
dev=$(realpath -m -- "${BRANDGATE_STATE:-$repo/.dev}")
is_kept=yes
if [[ -n ${BRANDGATE_STATE:-} ]]; then is_kept=no; fi
binaries=$(realpath -m -- "${1:-$repo/target/release}")
binary=$binaries/brandgate
started_us=${EPOCHREALTIME//[^0-9]/}

log() { printf 'run: %s\n' "$*"; }
fail() {
  printf 'run: %s\n' "$*" >&2
  exit 1
}

# ---- shutdown --------------------------------------------------------------------------------------------------------

services_started=no step='' gateway_job='' signal='' companions=()

# shellcheck disable=SC2317 # reached through the trap
gateway_pid() {
  local pid=''
  { read -r pid <"$dev/gateway.pid"; } 2>/dev/null || true
  printf '%s' "$pid"
}

# The gateway drains on SIGTERM; a second Ctrl-C or the timeout kills it.
# shellcheck disable=SC2317 # reached through the trap
stop_gateway() {
  local pid deadline=$((SECONDS + DRAIN_TIMEOUT_SECONDS)) force=no term_sent=no
  [[ -n $gateway_job ]] || return 0
  trap 'force=yes' INT TERM HUP
  while [[ -d /proc/$gateway_job ]]; do
    pid=$(gateway_pid)
    if [[ -n $pid && $term_sent == no ]]; then
      kill -TERM "$pid"
      term_sent=yes
    fi
    if [[ -n $pid ]] && { [[ $force == yes ]] || ((SECONDS >= deadline)); }; then kill -KILL "$pid"; fi
    sleep "$POLL_SECONDS"
  done 2>/dev/null
  wait "$gateway_job" 2>/dev/null
  trap '' INT TERM HUP
}

# In reverse order of their start: the workers finish their current jobs before the sandbox, which they call, is stopped.
# shellcheck disable=SC2317 # reached through the trap
stop_companions() {
  local job index deadline=$((SECONDS + DRAIN_TIMEOUT_SECONDS))
  for ((index = ${#companions[@]} - 1; index >= 0; index--)); do
    job=${companions[index]}
    kill -TERM "$job" 2>/dev/null
    while [[ -d /proc/$job ]] && ((SECONDS < deadline)); do sleep "$POLL_SECONDS"; done
    kill -KILL "$job" 2>/dev/null
    wait "$job" 2>/dev/null
  done
}

# shellcheck disable=SC2317 # reached through the trap
finish() {
  local status=$?
  # the cleanup must complete, even without a terminal
  set +e
  trap '' INT TERM HUP PIPE
  trap - EXIT
  if [[ -n $step ]]; then
    kill -TERM "$step" 2>/dev/null
    wait "$step" 2>/dev/null
  fi
  if [[ -n $signal ]]; then
    printf '\n' 2>/dev/null
    log 'shutting down' 2>/dev/null
  fi
  stop_gateway
  stop_companions
  rm -f -- "$dev/gateway.pid"
  if [[ $services_started == yes ]]; then
    if [[ $is_kept == yes ]]; then
      "$env_scripts/services.sh" stop "$dev" || status=1
    elif "$env_scripts/services.sh" discard "$dev"; then
      rm -rf -- "$dev"
    else
      status=1
    fi
  fi
  # Ctrl-C is the regular way to stop.
  if [[ $signal == INT ]]; then exit 0; fi
  if [[ -n $signal ]]; then
    trap - "$signal"
    kill -"$signal" $$
  fi
  exit "$status"
}

# Runs a step in the background, so that a signal is handled at once; the step then gets SIGTERM.
run_step() {
  "$@" 9>&- &
  step=$!
  local status=0
  wait "$step" || status=$?
  step=''
  return "$status"
}

# ---- preconditions ---------------------------------------------------------------------------------------------------

# Prints the process that listens on a port, if any.
listener_of() {
  local port=$1 line='' words
  words=$(ss -Hltnp "sport = :$port" | awk '$4 ~ /^(0\.0\.0\.0|127\.0\.0\.1|\*|\[::\]|\[::1\]|\[::ffff:127\.0\.0\.1\])(%[^:]+)?:/')
  [[ -n $words ]] || return 0
  if [[ $words != *users:* ]] && ((EUID != 0)); then
    line=$(sudo -n ss -Hltnp "sport = :$port" 2>/dev/null || true)
    if [[ $line == *users:* ]]; then words=$line; fi
  fi
  if [[ $words =~ \(\"([^\"]+)\",pid=([0-9]+) ]]; then
    printf '%s (pid %s)' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
  else
    printf 'a process of another user (sudo ss -ltnp)'
  fi
}

check_ports() {
  local port listener taken=no
  for port in "${PORTS[@]}"; do
    listener=$(listener_of "$port")
    if [[ -n $listener ]]; then
      printf 'run: port %s is taken by %s\n' "$port" "$listener" >&2
      taken=yes
    fi
  done
  [[ $taken == no ]] || fail 'ports are in use; nothing was started'
}

# Ports below 1024 need a capability, which sudo grants to the gateway only. Checked here, while sudo can ask for a password.
through_sudo=no
check_low_ports() {
  local first_unprivileged
  first_unprivileged=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || printf 1024)
  if ((EUID == 0 || first_unprivileged <= LOWEST_PORT)); then return; fi
  command -v sudo >/dev/null ||
    fail "ports ${PORTS[0]} and ${PORTS[1]} need root or sudo; or allow them with sysctl net.ipv4.ip_unprivileged_port_start=$LOWEST_PORT"
  through_sudo=yes
  if ! sudo -n true 2>/dev/null; then
    log "the gateway needs sudo for ports ${PORTS[0]} and ${PORTS[1]}; it runs as you, with that capability only"
    sudo -v || fail "failed to run sudo; ports ${PORTS[0]} and ${PORTS[1]} are not available"
  fi
}

# ---- configuration ---------------------------------------------------------------------------------------------------

make_secrets() {
  mkdir -p -- "$dev/credentials"
  chmod 0700 -- "$dev/credentials"
  local brand
  for brand in dexar novo; do
    secret "$brand.database-password" random_hex 32
    secret "$brand.telegram-bot-token" bot_token
    secret "$brand.bank-key" bank_key "$(merchant_of "$brand")"
  done
}

# secret NAME COMMAND…: stores the output of the command, unless the secret exists.
secret() {
  local file=$dev/credentials/$1
  shift
  if [[ -s $file ]]; then return; fi
  (umask 077 && "$@" >"$file.new")
  mv -- "$file.new" "$file"
}

# shellcheck disable=SC2317 # called by name
random_hex() { od -An -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }

# The merchant ids at the simulated bank.
merchant_of() {
  case $1 in
    dexar) printf 'MA0000000445' ;;
    *) printf 'MA0000000444' ;;
  esac
}

# bank_key MERCHANT: a key like those of the bank: a JSON Web Token whose `sub` is the merchant.
# shellcheck disable=SC2317 # called by name
bank_key() {
  printf '%s.%s.%s' "$(printf '{"alg":"HS256"}' | url64)" "$(printf '{"sub":"%s"}' "$1" | url64)" "$(random_hex 32)"
}

# shellcheck disable=SC2317 # called by bank_key
url64() { base64 -w0 | tr +/ -_ | tr -d '='; }

# A token like those of BotFather: the bot's id, a colon, 35 characters.
# shellcheck disable=SC2317 # called by name
bot_token() {
  local id
  id=$(od -An -tu4 -N4 /dev/urandom | tr -d ' \n')
  printf '%s:AA%s' "$((1000000000 + id % 1000000000))" "$(random_hex 17 | cut -c1-33)"
}

has_ipv6() { grep -Eq '^0{31}1 .* lo$' /proc/net/if_inet6 2>/dev/null; }

# The settings of the sandbox: bots with their tokens, merchants with their keys, storefronts.
write_sandbox() {
  local listen="\"127.0.0.1:$SANDBOX_PORT\"" name title
  if has_ipv6; then listen+=", \"[::1]:$SANDBOX_PORT\""; fi
  (
    umask 077
    {
      printf '# generated by tests/env/run.sh at every start\n'
      printf 'listen = [%s]\nurl = "http://localhost:%s"\nsmtp = "127.0.0.1:%s"\n' "$listen" "$SANDBOX_PORT" "$SMTP_PORT"
      for name in dexar novo; do
        title=${name^}
        printf '\n[[bots]]\nusername = "%smarket_bot"\ntitle = "%s"\ntoken = "%s"\n' \
          "$name" "$title" "$(<"$dev/credentials/$name.telegram-bot-token")"
        printf '\n[[merchants]]\nid = "%s"\ntitle = "%s"\nkey = "%s"\n' \
          "$(merchant_of "$name")" "$title" "$(<"$dev/credentials/$name.bank-key")"
        printf 'callback_url = "https://localhost:%s/payments/raiffeisen/notify"\ncallback_ca = "%s"\n' \
          "${API_PORTS[$name]}" "$(toml "$dev/certs/ca.pem")"
      done
      shop dexar Dexar "${ACCENTS[dexar]}"
      shop novo Novo "${ACCENTS[novo]}"
    } >"$dev/sandbox.toml.new"
  )
  mv -- "$dev/sandbox.toml.new" "$dev/sandbox.toml"
}

# shop NAME TITLE ACCENT: the settings of a storefront.
shop() {
  local name=$1 port=${SHOP_PORTS[$1]} listen
  listen="\"127.0.0.1:$port\""
  if has_ipv6; then listen+=", \"[::1]:$port\""; fi
  printf '\n[[shops]]\nbrand = "%s"\ntitle = "%s"\nlisten = [%s]\napi = "https://localhost:%s"\naccent = "%s"\n' \
    "$name" "$2" "$listen" "${API_PORTS[$name]}" "$3"
  printf 'bot = "http://localhost:%s/telegram/%smarket_bot"\n' "$SANDBOX_PORT" "$name"
  if [[ -n ${BRANDGATE_POLL_MS:-} ]]; then printf 'poll_ms = %s\n' "$BRANDGATE_POLL_MS"; fi
  printf 'certificate = "%s/certs/shops.pem"\nkey = "%s/certs/shops.key"\n' "$(toml "$dev")" "$(toml "$dev")"
}

# Escapes a TOML string.
toml() {
  local text=${1//\\/\\\\}
  printf '%s' "${text//\"/\\\"}"
}

# write_brand NAME TITLE PRODUCTION-ORIGIN ACCENT
write_brand() {
  local name=$1 title=$2 port=${API_PORTS[$1]} storefront=${SHOP_PORTS[$1]} origin=$3 accent=$4 listen here database='' redis=''
  listen="\"127.0.0.1:$port\""
  if has_ipv6; then listen+=", \"[::1]:$port\""; fi
  here=$(toml "$dev")
  # On a busy test machine a slow service is not an outage.
  if [[ $is_kept == no ]]; then
    database=$'connect_timeout_ms = 8000\npool_wait_ms = 8000'
    redis=$'connect_timeout_ms = 4000\nresponse_timeout_ms = 4000'
  fi
  cat >"$dev/brands/$name.toml.new" <<TOML
# generated by tests/env/run.sh at every start
accent = "$accent"
name = "$name"
title = "$title"
listen = [$listen]
public_url = "https://localhost:$port"
storefront_url = "https://localhost:$storefront"
origins = ["$origin", "http://localhost:$storefront", "https://localhost:$storefront", "https://localhost:$((storefront + 100))"]

[tls]
certificate = "$here/certs/$name.pem"
key = "$here/certs/$name.key"

[database]
url = "postgresql://$name@${PG_HOST//\//%2F}:$PG_PORT/brandgate"
password = "$name.database-password"
$database

[redis]
url = "$REDIS_URL"
$redis

[telegram]
bot = "${name}market_bot"
token = "$name.telegram-bot-token"
api_url = "http://127.0.0.1:$SANDBOX_PORT"
link_url = "http://localhost:$SANDBOX_PORT/telegram"
lease_ms = 5000

[mail]
host = "127.0.0.1"
port = $SMTP_PORT
tls = "none"
from = "$title <shop@${origin#https://}>"
timeout_ms = 5000
first_retry_ms = 1000
longest_retry_ms = 30000
lease_ms = 15000

[bank]
api_url = "http://127.0.0.1:$SANDBOX_PORT"
merchant_id = "$(merchant_of "$name")"
keys = ["$name.bank-key"]

[fiscal]
fallback_email = "receipts@$name.example"
vat = "vat20"
wait_s = 20

[payments]
open_per_owner = 50
open_per_address = 1000
open_roubles_per_visitor = 1000000
units_per_visitor = 1000
units_of_visitors = 100000

[limits]
connections_per_address = 10000
requests_per_address = 2000
uploads_per_address = 1000

[rates]
logins_per_address = 100000
cart_writes_per_address = 1000000
cart_writes_per_visitor = 100000
payments_per_address = 100000
reviews_per_address = 100000
anonymous_reviews_per_hour = 100000
anonymous_questions_per_hour = 100000
TOML
  mv -- "$dev/brands/$name.toml.new" "$dev/brands/$name.toml"
}

admin_sql() {
  PGPASSWORD=$(<"$dev/pg.password") "$PG_BIN/psql" -XqAt -v ON_ERROR_STOP=1 -h "$PG_HOST" -p "$PG_PORT" -U postgres -d postgres -c "$1"
}

make_database() {
  if [[ $(admin_sql "SELECT 1 FROM pg_database WHERE datname = 'brandgate'") != 1 ]]; then
    admin_sql "CREATE DATABASE brandgate TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
    # the new database is empty, so the imports of an earlier one do not count
    rm -f -- "$dev"/demo.*.sha256
  fi
}

# import_demo BRAND ARGUMENT… [-- ARGUMENT…]…: one import per list, unless the same files were imported before.
import_demo() {
  local brand=$1 argument hash note=$dev/demo.$1.sha256 list=()
  shift
  for argument in "$@"; do
    [[ $argument == -- || -r $repo/${argument#*=} ]] || fail "demonstration data ${argument#*=} is missing"
  done
  hash=$(
    {
      printf '%s\n' "$@"
      for argument in "$@"; do [[ $argument == -- ]] || sha256sum <"$repo/${argument#*=}"; done
    } | sha256sum
  )
  if [[ -e $note && $(<"$note") == "$hash" ]]; then return; fi
  log "importing the demonstration catalogue of $brand"
  for argument in "$@" --; do
    if [[ $argument == -- ]]; then
      run_step "$binary" catalog import --brands "$dev/brands" --brand "$brand" "${list[@]}" ||
        fail "failed to import ${list[*]} into $brand"
      list=()
    elif [[ $argument == *=* ]]; then
      list+=("${argument%%=*}=$repo/${argument#*=}")
    else
      list+=("$repo/$argument")
    fi
  done
  printf '%s\n' "$hash" >"$note"
}

# ---- the sandbox and the workers ---------------------------------------------------------------------------------------

# start_companion NAME COMMAND…: starts a process in its own process group, which gets SIGTERM when this script exits. Its pid is in
# NAME.pid.
start_companion() {
  local name=$1
  shift
  set -m
  setpriv --pdeathsig TERM -- "$@" </dev/null 9>&- > >(tee "$dev/$name.log" | sed -u "s/^/$name: /") 2>&1 &
  companions+=($!)
  set +m
  printf '%s\n' "${companions[-1]}" >"$dev/$name.pid"
}

await_sandbox() {
  local deadline=$((SECONDS + READY_TIMEOUT_SECONDS))
  until curl -sS --noproxy '*' --max-time 2 -o /dev/null "http://127.0.0.1:$SANDBOX_PORT/" 2>/dev/null; do
    [[ -d /proc/${companions[0]} ]] || fail 'the sandbox exited unexpectedly'
    ((SECONDS < deadline)) || fail "the sandbox is not ready after $READY_TIMEOUT_SECONDS s"
    sleep "$POLL_SECONDS"
  done
}

# Waits until the bots poll for updates, so that `ready` is the last line.
await_bots() {
  local deadline=$((SECONDS + READY_TIMEOUT_SECONDS)) name
  for name in dexar novo; do
    until grep -q "polling for bot updates brand=\"$name\"" "$dev/workers.log" 2>/dev/null; do
      [[ -d /proc/${companions[1]} ]] || fail 'the workers exited unexpectedly'
      ((SECONDS < deadline)) || fail "the bot of $name is not ready after $READY_TIMEOUT_SECONDS s"
      sleep "$POLL_SECONDS"
    done
  done
}

# ---- the gateway -----------------------------------------------------------------------------------------------------

# Starts the gateway in its own process group, so that Ctrl-C reaches this script only, which then drains the gateway. If this
# script is killed, the gateway gets SIGTERM.
start_gateway() {
  rm -f -- "$dev/gateway.pid"
  local serve=("$binary" serve --brands "$dev/brands" --admin "$ADMIN") kept=() name
  if [[ $through_sudo == yes ]]; then
    for name in RUST_LOG RUST_BACKTRACE NO_COLOR TERM LANG; do
      if [[ -n ${!name:-} ]]; then kept+=("$name=${!name}"); fi
    done
    # The sudo process belongs to root, so this script signals the gateway by its own pid.
    # shellcheck disable=SC2016
    local inner='
      cd -- "$1" && printf "%s\n" $$ >"$2" || exit
      watched=$3 binary=$4
      shift 3
      (
        tail --pid="$watched" -s 0.5 -f /dev/null
        if grep -aFqe "$binary" /proc/$$/cmdline; then kill -TERM $$; fi
      ) </dev/null >/dev/null 2>&1 &
      exec "$@"'
    set -m
    sudo -n -- setpriv --reuid="$(id -u)" --regid="$(id -g)" --init-groups --inh-caps=+net_bind_service \
      --ambient-caps=+net_bind_service -- env "HOME=$HOME" "USER=$(id -un)" "CREDENTIALS_DIRECTORY=$CREDENTIALS_DIRECTORY" \
      "${kept[@]}" "$BASH" -c "$inner" gateway "$repo" "$dev/gateway.pid" $$ "${serve[@]}" </dev/null 9>&- &
    gateway_job=$!
    set +m
    while [[ ! -s $dev/gateway.pid && -d /proc/$gateway_job ]]; do sleep "$POLL_SECONDS"; done
  else
    set -m
    setpriv --pdeathsig TERM -- "${serve[@]}" </dev/null 9>&- &
    gateway_job=$!
    set +m
    printf '%s\n' "$gateway_job" >"$dev/gateway.pid"
  fi
}

# Table lines of further brands.
other_brands() {
  local file name
  for file in "$dev"/brands/*.toml; do
    name=${file##*/} name=${name%.toml}
    [[ $name == dexar || $name == novo ]] || printf '  %-14s %s\n' "$name" "$(sed -n 's/^public_url *= *"\(.*\)".*/\1/p' "$file")"
  done
}

gateway_exited() {
  local status=0
  wait "$gateway_job" || status=$?
  printf 'run: the gateway exited unexpectedly with status %s\n' "$status" >&2
  ((status != 0)) || status=1
  exit "$status"
}

await_ready() {
  local deadline=$((SECONDS + READY_TIMEOUT_SECONDS)) answer
  until answer=$(curl -sS --noproxy '*' --max-time 2 -w '\n%{http_code}' "http://$ADMIN/readyz" 2>&1) && [[ ${answer##*$'\n'} == 200 ]]; do
    [[ -d /proc/$gateway_job ]] || gateway_exited
    ((SECONDS < deadline)) || fail "not ready after $READY_TIMEOUT_SECONDS s; http://$ADMIN/readyz: $answer"
    sleep "$POLL_SECONDS"
  done
}

# ---- main ------------------------------------------------------------------------------------------------------------

cd -- "$repo"
[[ -x $binary && -x $binaries/sandbox ]] || fail "$binary or $binaries/sandbox is missing; run cargo build --release --locked"
"$env_scripts/packages.sh" postgresql redis openssl curl ss emoji
if [[ $is_kept == no && -n $(ls -A -- "$dev" 2>/dev/null) ]]; then fail "$dev is not empty, and would be removed on exit"; fi
mkdir -p -- "$dev"
[[ -w $dev ]] || fail "$dev belongs to $(stat -c %U -- "$dev"), not to $(id -un)"
exec 9>>"$dev/run.lock"
flock -n 9 || fail 'another make run is active in this directory; nothing was started'
check_ports
check_low_ports

trap finish EXIT
trap 'signal=INT; exit 130' INT
trap 'signal=TERM; exit 143' TERM
trap 'signal=HUP; exit 129' HUP

services_started=yes fast=()
if [[ $is_kept == no ]]; then fast=(--fast --discard); fi
run_step "$env_scripts/services.sh" start "$dev" --owner $$ "${fast[@]}" || fail 'failed to start PostgreSQL or Redis'
# shellcheck source=/dev/null
source "$dev/services.env"
"$env_scripts/certs.sh" "$dev/certs" dexar=api.dexarmarket.ru novo=api.novo.market shops
cmp -s -- "$dev/certs/ca.pem" "$dev/ca.pem" || cp -- "$dev/certs/ca.pem" "$dev/ca.pem"
make_secrets
export CREDENTIALS_DIRECTORY=$dev/credentials
mkdir -p -- "$dev/brands"
write_brand dexar Dexar https://dexarmarket.ru "${ACCENTS[dexar]}"
write_brand novo Novo https://novo.market "${ACCENTS[novo]}"
write_sandbox
make_database
run_step "$binary" migrate --brands "$dev/brands" --admin-url "${PG_ADMIN_URL%/*}/brandgate" || fail 'failed to migrate the database; if .dev has data of another version, run make clean-dev'

demo=tests/data/demo
import_demo dexar $demo/regions.jsonl $demo/dexar/catalog.jsonl
import_demo novo $demo/regions.jsonl -- moscow=$demo/novo/moscow.xml spb=$demo/novo/spb.xml -- $demo/novo/delta.jsonl

start_companion sandbox "$binaries/sandbox" "$dev/sandbox.toml"
await_sandbox
start_companion workers "$binary" work --brands "$dev/brands" --admin "$WORK_ADMIN"
start_gateway
await_ready
await_bots

others=$(other_brands)
if [[ -n $others ]]; then others+=$'\n'; fi
cat <<TABLE

  Dexar          https://localhost:${PORTS[0]}
  Novo           https://localhost:${PORTS[1]}
$others  shops          https://localhost:${PORTS[3]} (Dexar), https://localhost:${PORTS[4]} (Novo)
  sandbox        http://localhost:$SANDBOX_PORT  /telegram: chats with both bots; /bank; /mail
  admin          http://$ADMIN  /metrics /readyz /healthz; the workers: http://$WORK_ADMIN
  CA             ${dev#"$repo/"}/ca.pem
  PostgreSQL     . ${dev#"$repo/"}/services.env && \$PG_BIN/psql "\$PG_ADMIN_URL"
  Redis          redis-cli -s ${REDIS_URL#unix://}

TABLE
elapsed_ms=$(((${EPOCHREALTIME//[^0-9]/} - started_us) / 1000))
printf 'ready in %d.%d s: Dexar on https://localhost:%s, Novo on https://localhost:%s; press Ctrl-C to stop\n' \
  $((elapsed_ms / 1000)) $((elapsed_ms % 1000 / 100)) "${PORTS[0]}" "${PORTS[1]}"
gateway_exited
