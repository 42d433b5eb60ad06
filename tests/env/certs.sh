#!/usr/bin/env bash
# Creates a certificate authority and P-256 server certificates signed by it, for development and tests.
#
#   certs.sh DIR NAME[=HOST,HOST…]…
#
# Creates DIR/ca.pem and DIR/ca.key, and for each name DIR/NAME.pem (leaf and CA) and DIR/NAME.key (0600), valid for localhost,
# 127.0.0.1, ::1 and the given hosts. Existing files are kept while they are valid: the CA for 30 more days, a leaf for 7 more
# days and for all its hosts.
#
# DIR must not be a directory of production certificates. The key of the CA must not leave DIR: it can impersonate any host to a
# browser that trusts ca.pem.

set -euo pipefail

readonly CA_VALID_DAYS=3650
readonly CA_RENEW_BEFORE_SECONDS=$((30 * 86400))
readonly LEAF_VALID_DAYS=397
readonly LEAF_RENEW_BEFORE_SECONDS=$((7 * 86400))

fail() {
  printf 'certs: %s\n' "$*" >&2
  exit 1
}

# Runs a command and shows its output only on failure.
quietly() {
  local output
  output=$("$@" 2>&1 >/dev/null) || fail "failed to run $*: $output"
}

same_key() {
  [[ -s $1 && -s $2 ]] || return 1
  [[ $(openssl x509 -in "$1" -noout -pubkey 2>/dev/null) == "$(openssl pkey -in "$2" -pubout 2>/dev/null)" ]]
}

ca_is_good() {
  same_key "$dir/ca.pem" "$dir/ca.key" &&
    openssl x509 -in "$dir/ca.pem" -noout -checkend "$CA_RENEW_BEFORE_SECONDS" >/dev/null 2>&1
}

make_ca() {
  quietly openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 -days "$CA_VALID_DAYS" \
    -subj "/O=brandgate development/CN=brandgate development CA $(openssl rand -hex 4)" \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
    -addext subjectKeyIdentifier=hash \
    -config "$work/openssl.cnf" -keyout "$work/ca.key" -out "$work/ca.pem"
  mv -- "$work/ca.key" "$dir/ca.key"
  mv -- "$work/ca.pem" "$dir/ca.pem"
}

# leaf_is_good NAME DNS-NAME…
leaf_is_good() {
  local pem=$dir/$1.pem host
  same_key "$pem" "$dir/$1.key" || return 1
  openssl x509 -in "$pem" -noout -checkend "$LEAF_RENEW_BEFORE_SECONDS" >/dev/null 2>&1 || return 1
  openssl verify -x509_strict -purpose sslserver -CAfile "$dir/ca.pem" "$pem" >/dev/null 2>&1 || return 1
  shift
  local names
  names=", $(openssl x509 -in "$pem" -noout -ext subjectAltName | sed -n '2s/^ *//p'),"
  for host in "$@"; do
    [[ $names == *" DNS:$host,"* ]] || return 1
  done
}

# make_leaf NAME DNS-NAME…
make_leaf() {
  local name=$1 host names='IP:127.0.0.1,IP:::1'
  shift
  for host in "$@"; do names+=",DNS:$host"; done
  printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth \
    subjectKeyIdentifier=hash authorityKeyIdentifier=keyid subjectAltName="$names" >"$work/extensions"
  quietly openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 -config "$work/openssl.cnf" \
    -subj "/O=brandgate development/CN=$name" -keyout "$work/leaf.key" -out "$work/leaf.csr"
  quietly openssl x509 -req -in "$work/leaf.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -sha256 \
    -set_serial "0x1$(openssl rand -hex 15)" -days "$LEAF_VALID_DAYS" \
    -extfile "$work/extensions" -out "$work/leaf.pem"
  cat -- "$work/leaf.pem" "$dir/ca.pem" >"$work/chain.pem"
  mv -- "$work/leaf.key" "$dir/$name.key"
  mv -- "$work/chain.pem" "$dir/$name.pem"
}

(($# >= 2)) || {
  sed -n '4s/^# *//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}
dir=$1
shift
command -v openssl >/dev/null || fail 'openssl is not installed; run tests/env/packages.sh openssl'
umask 022
mkdir -p -- "$dir"
dir=$(cd -- "$dir" && pwd -P)
# Calls are serialised, and files are renamed into place, so that no file is ever incomplete.
exec 9<"$dir"
flock -w 60 9 || fail "timed out waiting for another run on $dir"
umask 077
work=$(mktemp -d "$dir/.work.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# Do not use the system's openssl.cnf.
printf '%s\n' '[req]' 'distinguished_name = subject' 'prompt = no' '[subject]' >"$work/openssl.cnf"

ca_is_good || make_ca
for argument in "$@"; do
  name=${argument%%=*}
  hosts=''
  if [[ $argument == *=* ]]; then hosts=${argument#*=}; fi
  [[ $name =~ ^[a-z0-9][a-z0-9_-]*$ && $name != ca ]] || fail "\"$name\" is not a valid certificate name"
  IFS=, read -r -a dns <<<"localhost${hosts:+,$hosts}"
  for host in "${dns[@]}"; do
    [[ $host =~ ^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$ ]] || fail "\"$host\" is not a valid host name"
  done
  leaf_is_good "$name" "${dns[@]}" || make_leaf "$name" "${dns[@]}"
done
chmod 0644 -- "$dir"/*.pem
