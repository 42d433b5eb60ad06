#!/usr/bin/env bash
# Installs missing Debian packages of the development environment.
#
#   tests/env/packages.sh [rust|postgresql|pgbouncer|redis|openssl|cc|ca|curl|ss|shellcheck|chromium|node|certutil|emoji|systemd|promtool|nginx|wrk|h2load|slowhttptest|testssl|python3|lxml|venv|debootstrap|dpkg-dev]…
#
# As root it runs apt itself, else through sudo. When nothing is missing it runs neither and takes a few milliseconds.
#
# It never creates a PostgreSQL cluster, and never starts or enables a system service. The settings that prevent this during the
# installation are removed afterwards.

set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

readonly PG_VERSION=15
readonly CLUSTER_DIR=/etc/postgresql-common/createcluster.d
readonly CLUSTER_FILE=$CLUSTER_DIR/brandgate.conf
readonly POLICY_FILE=/usr/sbin/policy-rc.d
readonly LOCK_WAIT_SECONDS=300

fail() {
  printf 'packages: %s\n' "$*" >&2
  exit 1
}

# Whether the software of this name is installed.
present() {
  case $1 in
    rust) command -v cargo >/dev/null ;;
    postgresql)
      [[ -x /usr/lib/postgresql/$PG_VERSION/bin/postgres && -x /usr/lib/postgresql/$PG_VERSION/bin/psql ]]
      ;;
    pgbouncer) command -v pgbouncer >/dev/null ;;
    redis) command -v redis-server >/dev/null && command -v redis-cli >/dev/null ;;
    openssl) command -v openssl >/dev/null ;;
    cc) command -v cc >/dev/null && [[ -e /usr/include/stdio.h ]] ;;
    ca) [[ -s /etc/ssl/certs/ca-certificates.crt ]] ;;
    curl) command -v curl >/dev/null ;;
    ss) command -v ss >/dev/null ;;
    shellcheck) command -v shellcheck >/dev/null ;;
    chromium) [[ -x /usr/bin/chromium ]] ;;
    node) command -v node >/dev/null && command -v npm >/dev/null ;;
    certutil) command -v certutil >/dev/null ;;
    emoji) compgen -G '/usr/share/fonts/truetype/noto/NotoColorEmoji*' >/dev/null ;;
    systemd) command -v systemd-socket-activate >/dev/null ;;
    nginx) [[ -x /usr/sbin/nginx && -e /usr/lib/nginx/modules/ngx_http_brotli_static_module.so ]] ;;
    wrk) command -v wrk >/dev/null ;;
    h2load) command -v h2load >/dev/null ;;
    slowhttptest) command -v slowhttptest >/dev/null ;;
    testssl) command -v testssl >/dev/null ;;
    python3) command -v python3 >/dev/null ;;
    lxml) /usr/bin/python3 -c 'import lxml' 2>/dev/null ;;
    venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    dpkg-dev) command -v dpkg-shlibdeps >/dev/null ;;
    debootstrap) command -v debootstrap >/dev/null && command -v dpkg-deb >/dev/null ;;
    promtool) command -v promtool >/dev/null ;;
    *) fail "unknown name \"$1\"" ;;
  esac
}

# The Debian packages of a name.
packages_of() {
  case $1 in
    postgresql) printf 'postgresql-%s\n' "$PG_VERSION" ;;
    pgbouncer) printf '%s\n' pgbouncer ;;
    redis) printf '%s\n' redis-server redis-tools ;;
    openssl) printf '%s\n' openssl ;;
    cc) printf '%s\n' gcc libc6-dev make ;;
    ca) printf '%s\n' ca-certificates ;;
    curl) printf '%s\n' curl ;;
    ss) printf '%s\n' iproute2 ;;
    shellcheck) printf '%s\n' shellcheck ;;
    chromium) printf '%s\n' chromium ;;
    node) printf '%s\n' nodejs npm ;;
    certutil) printf '%s\n' libnss3-tools ;;
    emoji) printf '%s\n' fonts-noto-color-emoji ;;
    systemd) printf '%s\n' systemd ;;
    nginx) printf '%s\n' nginx-light libnginx-mod-http-brotli-static ;;
    wrk) printf '%s\n' wrk ;;
    h2load) printf '%s\n' nghttp2-client ;;
    slowhttptest) printf '%s\n' slowhttptest ;;
    testssl) printf '%s\n' testssl.sh ;;
    python3) printf '%s\n' python3 ;;
    lxml) printf '%s\n' python3-lxml ;;
    venv) printf '%s\n' python3-venv ;;
    debootstrap) printf '%s\n' debootstrap ;;
    dpkg-dev) printf '%s\n' dpkg-dev ;;
    promtool) printf '%s\n' prometheus ;;
  esac
}

# postgresql-common creates a cluster "main" at its first installation unless it is configured not to.
forbid_main_cluster() {
  made_cluster_dir=no
  [[ -d $CLUSTER_DIR ]] || made_cluster_dir=yes
  mkdir -p "$CLUSTER_DIR"
  printf '%s\n' "# temporary; created and removed by brandgate's tests/env/packages.sh" \
    'create_main_cluster = false' >"$CLUSTER_FILE"
  local conf=/etc/postgresql-common/createcluster.conf
  if [[ -e $conf ]] && command -v pg_conftool >/dev/null &&
    [[ $(pg_conftool "$conf" show -bs create_main_cluster 2>/dev/null || true) != off ]]; then
    fail "$conf does not include $CLUSTER_DIR, so installing postgresql-$PG_VERSION would create a cluster;" \
      "set create_main_cluster = false there and retry"
  fi
}

# Maintainer scripts consult policy-rc.d before they start a service. This one denies while this process runs, so that a leftover
# file has no effect.
forbid_service_start() {
  if [[ -e $POLICY_FILE ]]; then
    if grep -q 'brandgate' "$POLICY_FILE" 2>/dev/null; then
      rm -f "$POLICY_FILE"
    else
      local answer=0
      "$POLICY_FILE" redis-server start >/dev/null 2>&1 || answer=$?
      [[ $answer == 101 ]] ||
        fail "$POLICY_FILE of this machine would start new services;" \
          "install these packages manually and retry: ${packages[*]}"
      return
    fi
  fi
  made_policy=yes
  printf '%s\n' '#!/bin/sh' "# temporary; created and removed by brandgate's tests/env/packages.sh" \
    "[ -d /proc/$$ ] && exit 101" 'exit 0' >"$POLICY_FILE"
  chmod 0755 "$POLICY_FILE"
}

restore() {
  [[ $made_policy == no ]] || rm -f "$POLICY_FILE"
  if [[ -n $made_cluster_dir ]]; then
    rm -f "$CLUSTER_FILE"
    [[ $made_cluster_dir == no ]] || rmdir "$CLUSTER_DIR" 2>/dev/null || true
  fi
}

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o "DPkg::Lock::Timeout=$LOCK_WAIT_SECONDS" -o Dpkg::Use-Pty=0 "$@" </dev/null
}

install_as_root() {
  command -v apt-get >/dev/null || fail "apt-get is missing; install manually: ${packages[*]}"
  made_policy=no
  made_cluster_dir=''
  trap restore EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  local service new_services=()
  for service in redis-server pgbouncer nginx prometheus; do
    if [[ " ${packages[*]} " == *" $service"[\ -]* && ! -e /lib/systemd/system/$service.service ]]; then
      new_services+=("$service")
    fi
  done
  if [[ " ${packages[*]} " == *' postgresql-'* ]]; then forbid_main_cluster; fi
  forbid_service_start
  printf 'packages: installing %s\n' "${packages[*]}"
  # Without package lists there are no candidates, and with old ones downloads fail: refresh them and retry.
  if ! apt-cache policy "${packages[@]}" 2>/dev/null | grep -q 'Candidate: [^(]' ||
    ! apt install --no-install-recommends "${packages[@]}"; then
    printf 'packages: refreshing the package lists\n'
    apt update
    apt install --no-install-recommends "${packages[@]}"
  fi
  # New services are enabled by default. The environment starts private instances instead.
  for service in "${new_services[@]}"; do
    update-rc.d "$service" disable >/dev/null 2>&1 || true
    deb-systemd-helper disable "$service.service" >/dev/null 2>&1 || true
  done
}

missing=()
for name in "$@"; do
  present "$name" || missing+=("$name")
done
((${#missing[@]})) || exit 0

packages=()
for name in "${missing[@]}"; do
  if [[ $name == rust ]]; then
    fail 'cargo is not installed; install Rust with rustup,' \
      "or from your distribution if it has the rust-version of Cargo.toml"
  fi
  while IFS= read -r package; do packages+=("$package"); done < <(packages_of "$name")
done

if ((EUID == 0)); then
  install_as_root
elif command -v sudo >/dev/null; then
  printf 'packages: %s missing; installing with sudo\n' "${packages[*]}"
  sudo -- "$BASH" "$(realpath "${BASH_SOURCE[0]}")" "${missing[@]}"
else
  fail "neither root nor sudo; run as root: apt-get install --no-install-recommends ${packages[*]}"
fi

for name in "${missing[@]}"; do
  present "$name" || fail "$name is still missing after the installation"
done
