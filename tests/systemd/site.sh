# shellcheck shell=bash
# site.sh: what a sysadmin has before brandgate is there, for scripts inside the machine of machine.sh.
#
# Sourced by checks.sh and package-checks.sh. The steps that are the operations page's own (users, directories, secrets, the
# certificates' copies) are done here as it says them. Secrets are random; nothing of it outlives the machine.

readonly WORK=/run/brandgate-test

random_hex() { od -An -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }
url64() { base64 -w0 | tr +/ -_ | tr -d '='; }

# The reason is told by the trap at the end of whoever sources this.
fail() {
  # shellcheck disable=SC2034
  reason=$*
  exit 1
}

# A step that took place, with the time since the last one.
last_ms=0
now_ms() { printf '%s' $((${EPOCHREALTIME//[^0-9]/} / 1000)); }
ok() {
  local now
  now=$(now_ms)
  printf 'ok  %5d ms  %s\n' $((last_ms ? now - last_ms : 0)) "$*"
  last_ms=$now
}

# within SECONDS COMMAND…: waits until it succeeds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# port_of BRAND, host_of BRAND
port_of() { if [[ $1 == dexar ]]; then printf 445; else printf 444; fi; }
host_of() { if [[ $1 == dexar ]]; then printf api.dexarmarket.ru; else printf api.novo.market; fi; }

# fetch BRAND PATH [CURL-ARGUMENT…]: as a browser would, by name.
fetch() {
  local brand=$1 path=$2
  shift 2
  curl -sS --noproxy '*' --max-time 20 --cacert "$WORK/certs/ca.pem" \
    --connect-to "$(host_of "$brand"):$(port_of "$brand"):127.0.0.1:$(port_of "$brand")" \
    "$@" "https://$(host_of "$brand"):$(port_of "$brand")$path"
}

# The status of an answer.
status_of() { fetch "$1" "$2" -o /dev/null -w '%{http_code}'; }
answers() { [[ $(status_of "$1" "${2:-/category}") == 200 ]]; }

property() { systemctl show -P "$2" "$1"; }

# As PostgreSQL's administrator, with the programs of its newest version.
as_postgres() {
  local program
  program=$(printf '%s\n' /usr/lib/postgresql/*/bin/"$1" | tail -n 1)
  shift
  (cd / && setpriv --reuid=postgres --regid=postgres --init-groups -- "$program" "$@")
}

make_certificates() {
  /repo/tests/env/certs.sh "$WORK/certs" dexar=api.dexarmarket.ru novo=api.novo.market
}

# As certbot keeps them, and handed over by its hook.
hand_over_certificate() {
  local lineage=$WORK/live/$1
  mkdir -p -- "$lineage"
  cp -- "$WORK/certs/$1.pem" "$lineage/fullchain.pem"
  cp -- "$WORK/certs/$1.key" "$lineage/privkey.pem"
  RENEWED_LINEAGE=$lineage RENEWED_DOMAINS=$(host_of "$1") "$HOOK"
}

make_secrets() {
  local brand merchant
  (
    umask 077
    for brand in dexar novo; do
      merchant=MA0000000$(port_of "$brand")
      cd /etc/brandgate/credentials || exit
      random_hex 32 >"$brand.database-password"
      printf '1234567890:AA%s' "$(random_hex 17 | cut -c1-33)" >"$brand.telegram-bot-token"
      printf '%s.%s.%s' "$(printf '{"alg":"HS256"}' | url64)" "$(printf '{"sub":"%s"}' "$merchant" | url64)" \
        "$(random_hex 32)" >"$brand.bank-key"
      random_hex 16 >"$brand.smtp-password"
    done
  )
}

# What the import of a catalogue is for a sysadmin: root, with the secrets where they are.
import_catalogues() {
  local demo=/repo/tests/data/demo
  brandgate catalog import --brand dexar $demo/regions.jsonl $demo/dexar/catalog.jsonl >"$WORK/import.log" 2>&1 || {
    cat "$WORK/import.log" >&2
    fail 'the import of dexar'
  }
  brandgate catalog import --brand novo $demo/regions.jsonl moscow=$demo/novo/moscow.xml >"$WORK/import.log" 2>&1 || {
    cat "$WORK/import.log" >&2
    fail 'the import of novo'
  }
}
