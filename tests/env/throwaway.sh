#!/usr/bin/env bash
# throwaway.sh: runs one command with an environment of its own, which is gone afterwards.
#
#   tests/env/throwaway.sh DIRECTORY COMMAND…      with brandgate and sandbox in DIRECTORY
#
# Called by `make test` and `make screenshots`. The environment is that of `make run` (run.sh) on free ports, with its state
# in a new directory; COMMAND is told where things are by the variables of tests/browser/places.mjs. It runs beside `make run`
# and beside another one of itself. When COMMAND fails, what the environment said is kept as DIRECTORY/throwaway.log.
#
# Whatever happens to COMMAND or to this script, no process and no state may stay; a SIGKILL leaves a log in TMPDIR, no more.

set -euo pipefail

readonly READY_DEADLINE_SECONDS=120
readonly END_DEADLINE_SECONDS=60
readonly POLL_SECONDS=0.1
readonly POLL_MS=300
readonly TRIES=5
readonly PORT_COUNT=8
# Below the ports that Linux gives to outgoing connections.
readonly FIRST_PORT=20000 PORT_BLOCKS=1200

fail() {
  printf 'throwaway: %s\n' "$*" >&2
  exit 1
}

(($# >= 2)) || fail 'usage: tests/env/throwaway.sh DIRECTORY COMMAND…'
env_scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
binaries=$(realpath -- "$1")
shift
environment='' command='' place=''

# end PID SIGNAL: asks a job's process group, waits, insists.
# shellcheck disable=SC2317 # reached through the trap
end() {
  local deadline=$((SECONDS + END_DEADLINE_SECONDS))
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
  end "$command" -
  # run.sh ends what it started in the right order, so it alone is asked
  end "$environment" ''
  if [[ -n $place ]]; then
    if ((status != 0)) && cp -- "$log" "$binaries/throwaway.log" 2>/dev/null; then
      printf 'throwaway: what the environment said is in %s\n' "$binaries/throwaway.log" >&2
    fi
    rm -rf -- "$place"
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Eight ports in a row that nobody listens on.
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

# In a process group of its own, so that a Ctrl-C reaches this script alone; should this be killed outright, it gets SIGTERM.
start() {
  free_ports
  : >"$log"
  set -m
  BRANDGATE_STATE=$state BRANDGATE_PORTS=${ports[*]} BRANDGATE_POLL_MS=$POLL_MS \
    setpriv --pdeathsig TERM -- "$env_scripts/run.sh" "$binaries" </dev/null >"$log" 2>&1 &
  environment=$!
  set +m
  local deadline=$((SECONDS + READY_DEADLINE_SECONDS))
  until grep -q '^ready ' "$log"; do
    [[ -d /proc/$environment ]] || return 1
    ((SECONDS < deadline)) || return 1
    sleep "$POLL_SECONDS"
  done
}

"$env_scripts/packages.sh" ss
place=$(mktemp -d "${TMPDIR:-/tmp}/brandgate-env.XXXXXX")
state=$place/state log=$place/log
# PostgreSQL runs as another user where root starts it
chmod 0755 -- "$place"
# A port may be taken between the look and the start.
for ((try = 1; try <= TRIES; try++)); do
  if start; then break; fi
  if ((try == TRIES)) || ! grep -q '^run: port .* is taken' "$log"; then
    tail -n 30 -- "$log" >&2
    fail 'the environment did not come up'
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
