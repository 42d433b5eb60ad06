#!/usr/bin/env bash
# Tests the units with a real systemd in namespaces of its own.
#
#   tests/systemd/run.sh [DIRECTORY]      with brandgate in it (default: target/debug)
#
# machine.sh boots systemd on an overlay of this machine, checks.sh installs brandgate inside and tests cold start, sandbox,
# credentials, restarts under load, the watchdog, reloads, certificate renewal, a new brand, a backup. It takes about a minute.
# Changes are in memory, and the network inside has a loopback interface only.

set -euo pipefail

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
binaries=$(realpath -m -- "${1:-$repo/target/debug}")
# shellcheck source=tests/systemd/machine.sh
source "$repo/tests/systemd/machine.sh"

[[ -x $binaries/brandgate ]] || machine_fail "$binaries/brandgate is missing; run cargo build"
"$repo/tests/env/packages.sh" postgresql redis openssl curl ss systemd wrk
if ((EUID != 0)) && sudo -n true 2>/dev/null; then
  exec sudo -n -- "$BASH" "${BASH_SOURCE[0]}" "$binaries"
fi
if ! why=$(machine_is_possible); then
  printf 'systemd-test: SKIPPED: %s\n' "$why" >&2
  exit 0
fi
machine_alone "$binaries"
started_s=$SECONDS
machine_start /
machine_run install -D -m 0755 /dev/stdin /opt/brandgate-test/brandgate <"$binaries/brandgate"
machine_run /repo/tests/systemd/checks.sh /opt/brandgate-test
machine_stop
printf 'systemd-test: all checks passed in %s s\n' $((SECONDS - started_s))
