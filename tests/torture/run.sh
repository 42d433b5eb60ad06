#!/usr/bin/env bash
# run.sh: attacks a site of its own with hostile clients and prints one table. Entry point of `make torture`; README.md has the method.
#
#   tests/torture/run.sh DIRECTORY      with brandgate and sandbox in DIRECTORY
#
# ONLY=unread,bodies selects scenarios, SHORT=1 makes each short, MEMORY_MB=512 is the memory limit of the gateway. All traffic stays on
# loopback. Everything that was started is stopped and deleted at exit; the results stay in .dev/torture.

set -euo pipefail
cd "$(dirname "$0")/../.."

readonly SCENARIOS=(unread bodies references sockets silence strangers curl overload scanners)
readonly VENV=.dev/torture/venv
readonly PYTHON_PACKAGES=(hpack==4.2.0 sslyze==6.3.1 schemathesis==4.32.5)

fail() {
  printf 'torture: %s\n' "$*" >&2
  exit 2
}

export ONLY=${ONLY:-} SHORT=${SHORT:-} MEMORY_MB=${MEMORY_MB:-512}
export PYTHONDONTWRITEBYTECODE=1
for name in ${ONLY//,/ }; do
  [[ " ${SCENARIOS[*]} " == *" $name "* ]] || fail "ONLY: no scenario is called $name; there are ${SCENARIOS[*]}"
done
[[ $MEMORY_MB =~ ^[1-9][0-9]*$ ]] || fail "MEMORY_MB: expected a whole number from 1, not $MEMORY_MB"
# `make torture` validates the variables before it builds.
[[ ${1:-} != check ]] || exit 0
(($# == 1)) || fail 'usage: tests/torture/run.sh DIRECTORY'
binaries=$(realpath -- "$1")
[[ -x $binaries/brandgate && -x $binaries/sandbox ]] || fail "$binaries has no brandgate or no sandbox"

tests/env/packages.sh postgresql redis openssl curl ss nginx wrk h2load slowhttptest testssl python3 venv
mkdir -p .dev/torture
if [[ ! -x $VENV/bin/schemathesis || $(cat "$VENV/installed" 2>/dev/null) != "${PYTHON_PACKAGES[*]}" ]]; then
  python3 -m venv "$VENV"
  "$VENV/bin/pip" install --quiet --disable-pip-version-check "${PYTHON_PACKAGES[@]}"
  printf '%s\n' "${PYTHON_PACKAGES[*]}" >"$VENV/installed"
fi

ulimit -Sn "$(ulimit -Hn)"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/brandgate-torture.XXXXXX")
chmod 0755 "$work"
cgroup='' environment=''
# shellcheck disable=SC2317 # called by the trap
cleanup() {
  local status=$?
  trap '' INT TERM HUP
  if [[ -n $environment ]]; then
    kill -TERM "$environment" 2>/dev/null || true
    wait "$environment" || true
  fi
  if [[ -n $cgroup ]]; then rmdir "$cgroup" 2>/dev/null || true; fi
  cp -- "$work/state/gateway.log" .dev/torture/gateway.log 2>/dev/null || true
  cp -- "$work/bin/throwaway.log" .dev/torture/environment.log 2>/dev/null || true
  rm -rf "$work"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A cgroup with a memory controller: v2, else v1.
memory_bytes=$((MEMORY_MB * 1024 * 1024))
limited_by="RLIMIT_DATA (no writable memory cgroup)"
make_cgroup() { # parent directory, file of the limit, name
  [[ -w $1 && ! -e $1/brandgate-torture.$$ ]] || return 1
  mkdir "$1/brandgate-torture.$$" 2>/dev/null || return 1
  if printf '%s' "$memory_bytes" 2>/dev/null >"$1/brandgate-torture.$$/$2"; then
    cgroup=$1/brandgate-torture.$$
    limited_by=$3
    printf 0 2>/dev/null >"$cgroup/memory.swap.max" || true
  else
    rmdir "$1/brandgate-torture.$$"
    return 1
  fi
}
if [[ -e /sys/fs/cgroup/cgroup.subtree_control ]]; then
  printf '+memory' 2>/dev/null >/sys/fs/cgroup/cgroup.subtree_control || true
  make_cgroup /sys/fs/cgroup memory.max 'a cgroup v2' || true
else
  make_cgroup /sys/fs/cgroup/memory memory.limit_in_bytes 'a cgroup v1' || true
fi

mkdir "$work/bin" "$work/state"
ln -s "$binaries/sandbox" "$work/bin/sandbox"
ln -s "$PWD/tests/torture/gateway.sh" "$work/bin/brandgate"
export TORTURE_BINARY=$binaries/brandgate TORTURE_STATE=$work/state TORTURE_CGROUP=$cgroup TORTURE_MEMORY=$memory_bytes
export TORTURE_LIMITED_BY=$limited_by TORTURE_RESULTS=$PWD/.dev/torture
VENV_BIN=$(realpath "$VENV/bin")
# The allocator returns memory to the system as under the unit.
_RJEM_MALLOC_CONF=$(sed -n 's/^Environment=_RJEM_MALLOC_CONF=//p' systemd/brandgate.service)
[[ -n $_RJEM_MALLOC_CONF ]] || fail 'systemd/brandgate.service does not configure the allocator'
export VENV_BIN _RJEM_MALLOC_CONF
# The gateway has the first half of the cores, and attackers, clients, databases and nginx have the rest.
cores=$(nproc) gateway_cpus=0 other_cpus=0
if ((cores > 1)); then gateway_cpus=0-$((cores / 2 - 1)) other_cpus=$((cores / 2))-$((cores - 1)); fi
export TORTURE_CPUS=$gateway_cpus
# Not in the foreground, where bash would delay a trap until it has ended.
taskset -c "$other_cpus" tests/env/throwaway.sh "$work/bin" "$VENV/bin/python3" tests/torture/torture.py &
environment=$!
status=0
wait "$environment" || status=$?
environment=''
exit "$status"
