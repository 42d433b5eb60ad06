#!/usr/bin/env bash
# gateway.sh: stands in for the brandgate binary in tests/env/run.sh and supervises the gateway as systemd would.
#
# run.sh links it as `brandgate` into a directory of its own. Every command but `serve` goes to the real binary unchanged. For `serve` the
# brand files get production's limits, and the process runs under a memory limit and is
# restarted a second after it exits. Environment:
#
#   TORTURE_BINARY      the real binary
#   TORTURE_STATE       directory for gateway.pid, gateway.exits (one exit status a line) and gateway.log
#   TORTURE_CGROUP      a cgroup (v1 memory or v2) to run in; empty: TORTURE_MEMORY bytes as RLIMIT_DATA
#   TORTURE_MEMORY      the memory limit in bytes
#   TORTURE_CPUS        the cores of the gateway, as taskset takes them

set -euo pipefail

if [[ ${1:-} != serve ]]; then exec "$TORTURE_BINARY" "$@"; fi

brands=''
for ((i = 1; i < $#; i++)); do
  next=$((i + 1))
  if [[ ${!i} == --brands ]]; then brands=${!next}; fi
done
for file in "$brands"/*.toml; do
  # The last tables of the file: generous limits for functional tests.
  sed -i '/^\[limits\]$/,$d' "$file"
done

child='' is_stopping=no
trap 'is_stopping=yes; if [[ -n $child ]]; then kill -TERM "$child" 2>/dev/null || true; fi' TERM INT

# The allocator's options of the unit: what a flood took is returned to the system.
unit=$(dirname -- "$(readlink -f -- "$0")")/../../systemd/brandgate.service
_RJEM_MALLOC_CONF=$(sed -n 's/^Environment=_RJEM_MALLOC_CONF=//p' "$unit")
export _RJEM_MALLOC_CONF

start() {
  (
    trap - TERM INT
    limit=()
    if [[ -n $TORTURE_CGROUP ]]; then
      printf '%s\n' "$BASHPID" >"$TORTURE_CGROUP/cgroup.procs"
    else
      limit=(prlimit "--data=$TORTURE_MEMORY" --)
    fi
    exec "${limit[@]}" setpriv --pdeathsig KILL -- taskset -c "$TORTURE_CPUS" "$TORTURE_BINARY" "$@"
  ) >>"$TORTURE_STATE/gateway.log" 2>&1 &
  child=$!
  printf '%s\n' "$child" >"$TORTURE_STATE/gateway.pid.new"
  mv -- "$TORTURE_STATE/gateway.pid.new" "$TORTURE_STATE/gateway.pid"
}

while [[ $is_stopping == no ]]; do
  start "$@"
  # A trapped signal interrupts `wait`.
  status=0
  while [[ -d /proc/$child ]]; do
    status=0
    wait "$child" || status=$?
  done
  printf '%s\n' "$status" >>"$TORTURE_STATE/gateway.exits"
  child=''
  if [[ $is_stopping == no ]]; then sleep 1; fi
done
