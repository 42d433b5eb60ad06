#!/usr/bin/env bash
# packages.sh: installs from Debian's packages what the development environment needs and the machine lacks.
#
#   tests/env/packages.sh [rust|postgresql|redis|openssl|cc|ca|curl|ss|shellcheck|chromium|node|certutil|emoji|systemd|promtool|nginx|wrk|h2load|slowhttptest|testssl|python3|venv|debootstrap|dpkg-dev]…
#
# Called by the Makefile and by run.sh; as root it acts directly, as an ordinary user through sudo. When everything is
# there it only looks at files: no apt, no sudo, a few milliseconds.
#
# It must never create a PostgreSQL cluster, and never start a service of the machine's own or leave one that starts
# at the next boot because of us; what it sets up for that while a package is being installed it takes away again.

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

# Whether what this name stands for is on the machine.
present() {
  case $1 in
    rust) command -v cargo >/dev/null ;;
    postgresql)
      [[ -x /usr/lib/postgresql/$PG_VERSION/bin/postgres && -x /usr/lib/postgresql/$PG_VERSION/bin/psql ]]
      ;;
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
    venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    dpkg-dev) command -v dpkg-shlibdeps >/dev/null ;;
    debootstrap) command -v debootstrap >/dev/null && command -v dpkg-deb >/dev/null ;;
    promtool) command -v promtool >/dev/null ;;
    *) fail "does not know \"$1\"" ;;
  esac
}

# The Debian packages that bring it.
packages_of() {
  case $1 in
    postgresql) printf 'postgresql-%s\n' "$PG_VERSION" ;;
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
    venv) printf '%s\n' python3-venv ;;
    debootstrap) printf '%s\n' debootstrap ;;
    dpkg-dev) printf '%s\n' dpkg-dev ;;
    promtool) printf '%s\n' prometheus ;;
  esac
}

# postgresql-common makes a cluster named "main" at the first installation unless its configuration says no.
forbid_main_cluster() {
  made_cluster_dir=no
  [[ -d $CLUSTER_DIR ]] || made_cluster_dir=yes
  mkdir -p "$CLUSTER_DIR"
  printf '%s\n' "# for the time of one installation; made and removed by brandgate's tests/env/packages.sh" \
    'create_main_cluster = false' >"$CLUSTER_FILE"
  local conf=/etc/postgresql-common/createcluster.conf
  if [[ -e $conf ]] && command -v pg_conftool >/dev/null &&
    [[ $(pg_conftool "$conf" show -bs create_main_cluster 2>/dev/null || true) != off ]]; then
    fail "$conf does not include $CLUSTER_DIR, so installing postgresql-$PG_VERSION would create a cluster;" \
      "set create_main_cluster = false there and run this again"
  fi
}

# Maintainer scripts ask policy-rc.d before they start a service. Ours says no while this process lives, so that even
# one left behind by a power cut forbids nothing.
forbid_service_start() {
  if [[ -e $POLICY_FILE ]]; then
    if grep -q 'brandgate' "$POLICY_FILE" 2>/dev/null; then
      rm -f "$POLICY_FILE"
    else
      local answer=0
      "$POLICY_FILE" redis-server start >/dev/null 2>&1 || answer=$?
      [[ $answer == 101 ]] ||
        fail "$POLICY_FILE of this machine would let a newly installed service start;" \
          "install these packages yourself and run this again: ${packages[*]}"
      return
    fi
  fi
  made_policy=yes
  printf '%s\n' '#!/bin/sh' "# for the time of one installation; made and removed by brandgate's tests/env/packages.sh" \
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
  command -v apt-get >/dev/null || fail "this is not Debian (no apt-get); install yourself: ${packages[*]}"
  made_policy=no
  made_cluster_dir=''
  trap restore EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  local service new_services=()
  for service in redis-server nginx prometheus; do
    if [[ " ${packages[*]} " == *" $service"[\ -]* && ! -e /lib/systemd/system/$service.service ]]; then
      new_services+=("$service")
    fi
  done
  if [[ " ${packages[*]} " == *' postgresql-'* ]]; then forbid_main_cluster; fi
  forbid_service_start
  printf 'packages: installing %s\n' "${packages[*]}"
  # Without lists no package has a candidate; with old ones a download may fail. Either way the lists come first then.
  if ! apt-cache policy "${packages[@]}" 2>/dev/null | grep -q 'Candidate: [^(]' ||
    ! apt install --no-install-recommends "${packages[@]}"; then
    printf 'packages: refreshing the lists of packages\n'
    apt update
    apt install --no-install-recommends "${packages[@]}"
  fi
  # A freshly installed service would start with the machine. Ours are private; the machine's own stay off.
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
    fail 'cargo was not found. Rust is the one thing you have to install yourself:' \
      "with rustup, or from your distribution if it has the version that Cargo.toml names (rust-version)."
  fi
  while IFS= read -r package; do packages+=("$package"); done < <(packages_of "$name")
done

if ((EUID == 0)); then
  install_as_root
elif command -v sudo >/dev/null; then
  printf 'packages: %s missing; installing through sudo\n' "${packages[*]}"
  sudo -- "$BASH" "$(realpath "${BASH_SOURCE[0]}")" "${missing[@]}"
else
  fail "neither root nor sudo; as root: apt-get install --no-install-recommends ${packages[*]}"
fi

for name in "${missing[@]}"; do
  present "$name" || fail "$name is still missing after the installation"
done
