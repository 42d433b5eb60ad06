#!/usr/bin/env bash
# package.sh: the Debian package on a bare Debian 12, installed by the operations page's steps, upgraded, removed, purged.
#
#   tests/systemd/package.sh DIRECTORY      with 0.0.1-1.deb and 0.0.2-1.deb in it
#
# Called by `make deb-test` as root. The bare Debian is fetched once by debootstrap to .dev/debian and kept; machine.sh boots it with every
# change in memory, package-checks.sh does the rest inside.

set -euo pipefail

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
(($# == 1)) || {
  sed -n '4s/^# *//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}
packages=$(realpath -- "$1")
readonly DEBIAN=$repo/.dev/debian SUITE=bookworm
# What a server has before brandgate comes, and what the checks ask with.
readonly INSTALLED=systemd,systemd-sysv,dbus,ca-certificates,openssl,curl,procps,iproute2,man-db,postgresql-15,redis-server
# shellcheck source=tests/systemd/machine.sh
source "$repo/tests/systemd/machine.sh"

if ((EUID != 0)); then exec sudo -- "$BASH" "${BASH_SOURCE[0]}" "$packages"; fi
"$repo/tests/env/packages.sh" systemd debootstrap
if ! why=$(machine_is_possible); then machine_fail "nothing was tried: $why"; fi
if [[ ! -d $DEBIAN ]]; then
  printf 'deb-test: fetching a bare Debian to %s\n' "$DEBIAN"
  rm -rf -- "$DEBIAN.new"
  mkdir -p -- "$DEBIAN.new"
  debootstrap --variant=minbase --include="$INSTALLED" "$SUITE" "$DEBIAN.new" >"$DEBIAN.log" 2>&1 ||
    machine_fail "debootstrap failed: $(tail -n 3 "$DEBIAN.log")"
  mv -- "$DEBIAN.new" "$DEBIAN"
fi
machine_alone "$packages"
begun=$SECONDS
machine_start "$DEBIAN"
for version in 0.0.1-1 0.0.2-1; do
  machine_run install -D -m 0644 /dev/stdin "/opt/brandgate-test/$version.deb" <"$packages/$version.deb"
done
machine_run /repo/tests/systemd/package-checks.sh /opt/brandgate-test
machine_stop
printf 'deb-test: everything held, in %s s\n' $((SECONDS - begun))
