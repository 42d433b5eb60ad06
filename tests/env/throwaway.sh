#!/usr/bin/env bash
# Runs a command in a temporary environment, which is removed afterwards.
#
#   tests/env/throwaway.sh DIRECTORY COMMAND…      with brandgate and sandbox in DIRECTORY
#
# The environment is that of `make run` (run.sh) on free ports, with its state in a temporary directory. COMMAND gets the
# addresses in the variables of tests/browser/environment.mjs. Several environments can run at the same time. If COMMAND fails,
# the output of the environment is kept as DIRECTORY/throwaway.log.
#
# No process and no state outlives this script; after SIGKILL a log stays in TMPDIR.

set -euo pipefail

readonly READY_TIMEOUT_SECONDS=120
readonly STOP_TIMEOUT_SECONDS=60
readonly POLL_SECONDS=0.1
readonly POLL_MS=300
readonly MAX_ATTEMPTS=5
readonly PORT_COUNT=8
# Below Linux's range of ephemeral ports.
readonly FIRST_PORT=20000 PORT_BLOCKS=1200

fail() {
  printf 'throwaway: %s\n' "$*" >&2
  exit 1
}

(($# >= 2)) || fail 'usage: tests/env/throwaway.sh DIRECTORY COMMAND…'
env_scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
binaries=$(realpath -- "$1")
shift
environment='' command='' directory=''

# stop PID PREFIX: sends SIGTERM to a process or, with the prefix -, to its process group; kills the group after the timeout.
# shellcheck disable=SC2317 # reached through the trap
stop() {
  local deadline=$((SECONDS + STOP_TIMEOUT_SECONDS))
  [[ -n $1 ]] || return 0
  kill -TERM -- "$2$1" 2>/dev/null
  while [[ -d /proc/$1 ]] && ((SECONDS < deadline)); do sleep "$POLL_SECONDS"; done
  kill -KILL -- "-$1" 2>/dev/null
  wait "$1" 2>/dev/null
}

# shellcheck disable=SC2317 # reached through the trap
finish() {
  local status=$?
  set +e
  trap '' INT TERM HUP PIPE
  trap - EXIT
  stop "$command" -
  # run.sh stops its processes itself, in the right order
  stop "$environment" ''
  if [[ -n $directory ]]; then
    if ((status != 0)) && cp -- "$log" "$binaries/throwaway.log" 2>/dev/null; then
      printf 'throwaway: the output of the environment is in %s\n' "$binaries/throwaway.log" >&2
    fi
    rm -rf -- "$directory"
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Finds consecutive free ports.
free_ports() {
  local taken first port
  taken=$(ss -Hltn | awk '{ sub(/.*:/, "", $4); print $4 }')
  while :; do
    first=$((FIRST_PORT + RANDOM % PORT_BLOCKS * 10))
    ports=()
    for ((port = first; port < first + PORT_COUNT; port++)); do
      if ! grep -qx "$port" <<<"$taken"; then ports+=("$port"); fi
    done
    if ((${#ports[@]} == PORT_COUNT)); then return; fi
  done
}

# Starts the environment in its own process group, so that Ctrl-C reaches this script only. If this is killed, it gets SIGTERM.
start() {
  free_ports
  : >"$log"
  set -m
  BRANDGATE_STATE=$state BRANDGATE_PORTS=${ports[*]} BRANDGATE_POLL_MS=$POLL_MS \
    setpriv --pdeathsig TERM -- "$env_scripts/run.sh" "$binaries" </dev/null >"$log" 2>&1 &
  environment=$!
  set +m
  local deadline=$((SECONDS + READY_TIMEOUT_SECONDS))
  until grep -q '^ready ' "$log"; do
    [[ -d /proc/$environment ]] || return 1
    ((SECONDS < deadline)) || return 1
    sleep "$POLL_SECONDS"
  done
}

"$env_scripts/packages.sh" ss
directory=$(mktemp -d "${TMPDIR:-/tmp}/brandgate-env.XXXXXX")
state=$directory/state log=$directory/log
# root starts PostgreSQL as another user
chmod 0755 -- "$directory"
# A port may be taken between the check and the start.
for ((attempt = 1; attempt <= MAX_ATTEMPTS; attempt++)); do
  if start; then break; fi
  if ((attempt == MAX_ATTEMPTS)) || ! grep -q '^run: port .* is taken' "$log"; then
    tail -n 30 -- "$log" >&2
    fail 'failed to start the environment'
  fi
done

mkdir -- "$state/tmp"
export STATE=$state TMPDIR=$state/tmp
export DEXAR_API=https://localhost:${ports[0]} NOVO_API=https://localhost:${ports[1]}
export DEXAR_SHOP=https://localhost:${ports[3]} NOVO_SHOP=https://localhost:${ports[4]}
export SANDBOX=http://localhost:${ports[5]}
set -m
setpriv --pdeathsig TERM -- "$@" </dev/null &
command=$!
set +m
status=0
wait "$command" || status=$?
command=''
exit "$status"
