# shellcheck shell=bash
# The prerequisites of an installation: secrets, certificates, catalogues. For scripts inside the machine of machine.sh.
#
# Sourced by checks.sh and package-checks.sh. The steps are those of systemd/README.md.

readonly WORK=/run/brandgate-test

random_hex() { od -An -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }
url64() { base64 -w0 | tr +/ -_ | tr -d '='; }

# The exit trap of the caller prints the reason.
fail() {
  # shellcheck disable=SC2034
  reason=$*
  exit 1
}

# Prints a passed step with the time since the last one.
last_ms=0
now_ms() { printf '%s' $((${EPOCHREALTIME//[^0-9]/} / 1000)); }
ok() {
  local now
  now=$(now_ms)
  printf 'ok  %5d ms  %s\n' $((last_ms ? now - last_ms : 0)) "$*"
  last_ms=$now
}

# within SECONDS COMMAND…: retries a command until it succeeds.
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

# fetch BRAND PATH [CURL-ARGUMENT…]: sends a request to the host name of the brand.
fetch() {
  local brand=$1 path=$2
  shift 2
  curl -sS --noproxy '*' --max-time 20 --cacert "$WORK/certs/ca.pem" \
    --connect-to "$(host_of "$brand"):$(port_of "$brand"):127.0.0.1:$(port_of "$brand")" \
    "$@" "https://$(host_of "$brand"):$(port_of "$brand")$path"
}

# status_of BRAND PATH: the status of a response.
status_of() { fetch "$1" "$2" -o /dev/null -w '%{http_code}'; }
answers() { [[ $(status_of "$1" "${2:-/category}") == 200 ]]; }

property() { systemctl show -P "$2" "$1"; }

# Runs a program of the newest PostgreSQL as its administrator.
as_postgres() {
  local program
  program=$(printf '%s\n' /usr/lib/postgresql/*/bin/"$1" | tail -n 1)
  shift
  (cd / && setpriv --reuid=postgres --regid=postgres --init-groups -- "$program" "$@")
}

make_certificates() {
  /repo/tests/env/certs.sh "$WORK/certs" dexar=api.dexarmarket.ru novo=api.novo.market
}

# Stores the certificate as certbot does and runs its hook.
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

# Imports the catalogues as root.
import_catalogues() {
  local demo=/repo/tests/data/demo
  brandgate catalog import --brand dexar $demo/regions.jsonl $demo/dexar/catalog.jsonl >"$WORK/import.log" 2>&1 || {
    cat "$WORK/import.log" >&2
    fail 'failed to import the catalogue of dexar'
  }
  brandgate catalog import --brand novo $demo/regions.jsonl moscow=$demo/novo/moscow.xml >"$WORK/import.log" 2>&1 || {
    cat "$WORK/import.log" >&2
    fail 'failed to import the catalogue of novo'
  }
}
