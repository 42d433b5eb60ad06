#!/usr/bin/env bash
# Tests the Debian package on a bare Debian 12: installation as documented, upgrade, removal, purge.
#
#   tests/systemd/package.sh DIRECTORY      with 0.0.1-1.deb and 0.0.2-1.deb in it
#
# It needs root. debootstrap downloads the bare Debian to .dev/debian once; machine.sh boots it with changes in memory, and
# package-checks.sh runs inside.

set -euo pipefail

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
(($# == 1)) || {
  sed -n '4s/^# *//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}
packages=$(realpath -- "$1")
readonly DEBIAN=$repo/.dev/debian SUITE=bookworm
# The packages of a server before brandgate is installed, and the tools of the checks.
readonly INSTALLED=systemd,systemd-sysv,dbus,ca-certificates,openssl,curl,procps,iproute2,man-db,postgresql-15,redis-server
# shellcheck source=tests/systemd/machine.sh
source "$repo/tests/systemd/machine.sh"

if ((EUID != 0)); then exec sudo -- "$BASH" "${BASH_SOURCE[0]}" "$packages"; fi
"$repo/tests/env/packages.sh" systemd debootstrap
if ! why=$(machine_is_possible); then machine_fail "cannot run the tests: $why"; fi
if [[ ! -d $DEBIAN ]]; then
  printf 'deb-test: downloading a bare Debian to %s\n' "$DEBIAN"
  rm -rf -- "$DEBIAN.new"
  mkdir -p -- "$DEBIAN.new"
  debootstrap --variant=minbase --include="$INSTALLED" "$SUITE" "$DEBIAN.new" >"$DEBIAN.log" 2>&1 ||
    machine_fail "failed to run debootstrap: $(tail -n 3 "$DEBIAN.log")"
  mv -- "$DEBIAN.new" "$DEBIAN"
fi
machine_alone "$packages"
started_s=$SECONDS
machine_start "$DEBIAN"
for version in 0.0.1-1 0.0.2-1; do
  machine_run install -D -m 0644 /dev/stdin "/opt/brandgate-test/$version.deb" <"$packages/$version.deb"
done
machine_run /repo/tests/systemd/package-checks.sh /opt/brandgate-test
machine_stop
printf 'deb-test: all checks passed in %s s\n' $((SECONDS - started_s))
