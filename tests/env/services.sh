#!/usr/bin/env bash
# Starts and stops a private PostgreSQL and Redis for development and tests.
#
#   services.sh start DIR [pg|redis|all] [--fast] [--tcp PORT] [--owner PID [--discard]]
#   services.sh stop DIR [pg|redis|all]
#   services.sh discard DIR
#
# `start` returns once both accept connections and writes DIR/services.env (PG_HOST, PG_PORT, PG_ADMIN_URL, PG_BIN, PG_DATA,
# REDIS_URL); it is idempotent. `stop` keeps the data, `discard` removes everything that this script created. --fast trades
# durability for speed. With --owner the servers stop when that process exits; with --discard their data is removed then.
#
# Both servers listen on unix sockets only; with --tcp PORT, PostgreSQL also on that port of 127.0.0.1. PostgreSQL refuses root: as
# root it runs as `postgres`, with its data in DIR/pg if that user can reach it, else in a directory under /var/tmp (named in
# DIR/pg.path).
#
# It never touches a server that it did not start for this DIR: before a signal is sent, the process is recognised by its command
# line, which names the data of DIR.

set -euo pipefail

readonly PG_BIN=/usr/lib/postgresql/15/bin
PG_PORT=5432
readonly PG_MAJOR=15
readonly START_TIMEOUT_SECONDS=30
readonly STOP_TIMEOUT_SECONDS=30
readonly LOCK_TIMEOUT_SECONDS=90
readonly POLL_SECONDS=0.03
readonly SOCKET_PATH_MAX_BYTES=107
readonly LOG_MAX_BYTES=10000000

log() { printf 'services: %s\n' "$*" >&2; }
fail() {
  log "$*"
  exit 1
}

usage() {
  sed -n '4,6s/^# *//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

# ---- directories -----------------------------------------------------------------------------------------------------

random_hex() { od -An -tx1 -N24 /dev/urandom | tr -d ' \n'; }

# Runs a command as the owner of a path, if that is another user and this one is root.
as_owner_of() {
  local owner
  owner=$(stat -c %u -- "$1")
  shift
  if ((EUID == 0 && owner != 0)); then
    local group
    group=$(id -g -- "$owner" 2>/dev/null) || fail "the data belongs to the unknown user $owner"
    exec setpriv --reuid="$owner" --regid="$group" --init-groups -- "$@"
  fi
  exec "$@"
}

can_postgres_enter() {
  setpriv --reuid=postgres --regid=postgres --init-groups -- test -x "$1" 2>/dev/null
}

# The directory of the sockets: DIR/run, or one under /tmp if DIR is too long for a socket address, has characters that need
# quoting in one, or is not accessible to the user `postgres`.
find_sockets() {
  sockets=$dir/run
  if [[ -s $dir/sockets.path ]]; then
    sockets=$(<"$dir/sockets.path")
    [[ $sockets == "$dir/run" || $sockets == /tmp/brandgate.* ]] || fail "$dir/sockets.path was not written by this script: $sockets"
    [[ ! -d $sockets || -O $sockets || $(stat -c %u -- "$sockets") == 0 ]] || ((EUID == 0)) || fail "$sockets belongs to another user"
  fi
}

choose_sockets() {
  find_sockets
  if [[ -s $dir/sockets.path && -d $sockets ]]; then return; fi
  sockets=$dir/run
  local longest=$sockets/pg/.s.PGSQL.$PG_PORT
  if ((${#longest} > SOCKET_PATH_MAX_BYTES)) || [[ ! $dir =~ ^[A-Za-z0-9/._-]+$ ]] ||
    { ((EUID == 0)) && ! can_postgres_enter "$dir"; }; then
    local hash
    hash=$(printf '%s' "$dir" | sha256sum)
    sockets=/tmp/brandgate.${hash:0:12}
    if ! mkdir -m 0755 -- "$sockets" 2>/dev/null && [[ -L $sockets || ! -O $sockets ]]; then
      sockets=$(mktemp -d /tmp/brandgate.XXXXXX)
    fi
  fi
  mkdir -p "$sockets"
  chmod 0755 "$sockets"
  printf '%s\n' "$sockets" >"$dir/sockets.path"
}

find_data() {
  data=$dir/pg
  if [[ -s $dir/pg.path ]]; then
    data=$(<"$dir/pg.path")
    [[ $data == "$dir/pg" || $data == /var/tmp/brandgate.*/pg ]] || fail "$dir/pg.path was not written by this script: $data"
  fi
}

choose_data() {
  find_data
  if [[ -s $dir/pg.path && -d $data ]]; then return; fi
  data=$dir/pg
  if ((EUID == 0)) && [[ ! -d $data ]] && ! can_postgres_enter "$dir"; then
    local hash fallback
    hash=$(printf '%s' "$dir" | sha256sum)
    fallback=/var/tmp/brandgate.${hash:0:12}
    # An existing one belongs to a deleted DIR of the same name. Its password is lost, so its data is useless.
    if [[ -d $fallback && ! -L $fallback && $(stat -c %U -- "$fallback") == postgres ]]; then
      stop_one postgres "$fallback/pg"
      rm -rf -- "$fallback"
    fi
    mkdir -m 0700 -- "$fallback" 2>/dev/null || fallback=$(mktemp -d /var/tmp/brandgate.XXXXXX)
    chown postgres:postgres -- "$fallback"
    data=$fallback/pg
  fi
  printf '%s\n' "$data" >"$dir/pg.path"
}

# ---- processes -------------------------------------------------------------------------------------------------------

# Whether PID is the server NAME whose command line has MARK as one argument. A zombie has no command line.
is_server() {
  local pid=$1 name=$2 mark=$3 comm argument
  [[ $pid =~ ^[0-9]+$ ]] || return 1
  { read -r comm <"/proc/$pid/comm"; } 2>/dev/null || return 1
  [[ $comm == "$name" ]] || return 1
  while IFS= read -r -d '' argument; do
    [[ $argument != "$mark" ]] || return 0
  done 2>/dev/null <"/proc/$pid/cmdline"
  return 1
}

# The pid of the server NAME with MARK: from its pid file, or from all processes if the file is stale or missing.
server_pid() {
  local name=$1 mark=$2 pid='' path
  case $name in
    postgres) path=$mark/postmaster.pid ;;
    *) path=${mark%/*}/redis.pid ;;
  esac
  if { read -r pid <"$path"; } 2>/dev/null && is_server "$pid" "$name" "$mark"; then
    printf '%s' "$pid"
    return
  fi
  for path in /proc/[0-9]*; do
    if is_server "${path#/proc/}" "$name" "$mark"; then
      printf '%s' "${path#/proc/}"
      return
    fi
  done
}

# ---- PostgreSQL ------------------------------------------------------------------------------------------------------

make_cluster() {
  if [[ -e $data ]]; then
    local major=''
    { read -r major <"$data/PG_VERSION"; } 2>/dev/null || fail "$data is not a PostgreSQL data directory, or not readable for $(id -un)"
    [[ $major == "$PG_MAJOR" ]] || fail "$data was created by PostgreSQL $major, not $PG_MAJOR; discard it"
    [[ -s $dir/pg.password ]] || fail "$dir/pg.password is missing, so $data cannot be administered; discard it"
    return
  fi
  if [[ ! -s $dir/pg.password ]]; then
    (umask 077 && random_hex >"$dir/pg.password")
  fi
  # Renamed into place, so that an interruption leaves nothing incomplete.
  local new=$data.new password_file=$sockets/pg/initdb.password sync=()
  if [[ $fast == yes ]]; then sync=(--no-sync); fi
  rm -rf -- "$new"
  mkdir -m 0700 -- "$new"
  (umask 077 && cp -- "$dir/pg.password" "$password_file")
  if ((EUID == 0)); then chown postgres:postgres -- "$new" "$password_file"; fi
  local output
  output=$(cd / && LC_ALL=C.UTF-8 as_owner_of "$new" "$PG_BIN/initdb" --pgdata="$new" --username=postgres --pwfile="$password_file" \
    --auth-local=scram-sha-256 --auth-host=reject --encoding=UTF8 --locale=C.UTF-8 "${sync[@]}" 2>&1 9>&-) ||
    fail "failed to run initdb: $output"
  rm -f -- "$password_file"
  mv -T -- "$new" "$data"
}

# A stale lock file whose pid belongs to another process would keep PostgreSQL from starting. It is removed once no process uses
# the shared memory that it names: children of a killed server need a moment to exit.
clear_stale_locks() {
  local file=$data/postmaster.pid pid='' shmid='' deadline=$((SECONDS + START_TIMEOUT_SECONDS))
  if { read -r pid <"$file"; } 2>/dev/null && [[ -d /proc/$pid ]]; then
    read -r _ shmid < <(sed -n 7p "$file") || true
    while [[ -n $shmid ]] && awk -v id="$shmid" '$2 == id && $7 > 0 { found = 1 } END { exit !found }' /proc/sysvipc/shm; do
      ((SECONDS < deadline)) || fail "processes of a killed PostgreSQL still use $data"
      sleep 0.1
    done
    log "removing the stale lock file of a crashed PostgreSQL (pid $pid)"
    rm -f -- "$file"
  fi
  file=$sockets/pg/.s.PGSQL.$PG_PORT.lock
  if { read -r pid <"$file"; } 2>/dev/null && ! is_server "$pid" postgres "$data"; then rm -f -- "$file"; fi
}

spawn_postgres() {
  local settings=(
    listen_addresses="$tcp_address" unix_socket_directories="$sockets/pg" port="$PG_PORT"
    max_connections=200 shared_buffers=256MB max_wal_size=2GB timezone=UTC log_timezone=UTC
    logging_collector=off log_destination=stderr log_line_prefix='%m [%p] %q%u@%d '
  )
  if [[ $fast == yes ]]; then settings+=(fsync=off synchronous_commit=off full_page_writes=off); fi
  local arguments=() setting
  for setting in "${settings[@]}"; do arguments+=(-c "$setting"); done
  clear_stale_locks
  (cd / && LC_ALL=C.UTF-8 as_owner_of "$data" setsid -- "$PG_BIN/postgres" -D "$data" "${arguments[@]}") \
    </dev/null >>"$dir/pg.log" 2>&1 9>&- &
  pg_child=$!
}

pg_accepts() { "$PG_BIN/pg_isready" -q -h "$sockets/pg" -p "$PG_PORT" -t 2; }

# ---- Redis -----------------------------------------------------------------------------------------------------------

spawn_redis() {
  local quoted=${redis//\\/\\\\} append_sync=everysec
  quoted=${quoted//\"/\\\"}
  if [[ $fast == yes ]]; then append_sync=no; fi
  (
    umask 077
    cat >"$redis/redis.conf.new" <<CONF
# generated by tests/env/services.sh at every start
port 0
unixsocket $sockets/redis/redis.sock
unixsocketperm 700
dir "$quoted"
appendonly yes
databases 4096
appendfsync $append_sync
save ""
maxmemory-policy noeviction
daemonize no
set-proc-title no
CONF
    mv -- "$redis/redis.conf.new" "$redis/redis.conf"
    if ((EUID == 0)); then chown --reference="$redis" -- "$redis/redis.conf"; fi
  )
  (cd / && as_owner_of "$redis" setsid -- redis-server "$redis/redis.conf") </dev/null >>"$dir/redis.log" 2>&1 9>&- &
  redis_child=$!
  printf '%s\n' "$redis_child" >"$redis/redis.pid"
}

redis_accepts() { [[ $(redis-cli -s "$sockets/redis/redis.sock" ping 2>/dev/null) == PONG ]]; }

# ---- start -----------------------------------------------------------------------------------------------------------

trim_log() {
  if [[ -e $1 && $(stat -c %s -- "$1") -gt $LOG_MAX_BYTES ]]; then : >"$1"; fi
}

show_log() {
  log "last lines of $1:"
  tail -n 20 -- "$1" >&2 || true
}

# Stops what this call started, after an interruption or a failure.
abandon() {
  trap '' INT TERM HUP
  if [[ -n $pg_child ]]; then kill -QUIT "$pg_child" 2>/dev/null || true; fi
  if [[ -n $redis_child ]]; then kill -TERM "$redis_child" 2>/dev/null || true; fi
  wait 2>/dev/null || true
}

await_servers() {
  local deadline=$((SECONDS + START_TIMEOUT_SECONDS)) pg_ready=$1 redis_ready=$2
  while [[ $pg_ready == no || $redis_ready == no ]]; do
    if [[ $pg_ready == no ]]; then
      if pg_accepts; then
        pg_ready=yes
      elif ! kill -0 "$pg_child" 2>/dev/null; then
        # Children of a killed server need a moment to exit; until then their shared memory blocks a new server.
        if tail -n 5 -- "$dir/pg.log" | grep -q 'pre-existing shared memory block' && ((SECONDS < deadline)); then
          sleep 0.2
          spawn_postgres
        else
          show_log "$dir/pg.log"
          fail 'failed to start PostgreSQL'
        fi
      fi
    fi
    if [[ $redis_ready == no ]]; then
      if redis_accepts; then
        redis_ready=yes
      elif ! kill -0 "$redis_child" 2>/dev/null; then
        show_log "$dir/redis.log"
        fail 'failed to start Redis'
      fi
    fi
    if [[ $pg_ready == no || $redis_ready == no ]]; then
      if ((SECONDS >= deadline)); then
        [[ $pg_ready == yes ]] || show_log "$dir/pg.log"
        [[ $redis_ready == yes ]] || show_log "$dir/redis.log"
        fail "not ready after $START_TIMEOUT_SECONDS s"
      fi
      sleep "$POLL_SECONDS"
    fi
  done
}

# Whether the server runs and has its socket. One without a socket is left over from a deleted DIR and is stopped.
is_up() {
  [[ -n $(server_pid "$1" "$2") ]] || return 1
  [[ ! -S $3 ]] || return 0
  stop_one "$1" "$2"
  return 1
}

write_env() {
  local host=${sockets//\//%2F}%2Fpg
  (
    umask 077
    cat >"$dir/services.env.new" <<ENV
PG_HOST=$sockets/pg
PG_PORT=$PG_PORT
PG_ADMIN_URL=postgresql://postgres:$(cat -- "$dir/pg.password" 2>/dev/null)@$host:$PG_PORT/postgres
PG_BIN=$PG_BIN
PG_DATA=$(printf '%q' "$data")
REDIS_URL=unix://$sockets/redis/redis.sock
ENV
    mv -- "$dir/services.env.new" "$dir/services.env"
  )
}

start() {
  if [[ $what != redis && ! -x $PG_BIN/postgres ]]; then fail "$PG_BIN/postgres is missing; run tests/env/packages.sh postgresql"; fi
  if [[ $what != pg ]] && ! command -v redis-server >/dev/null; then fail 'redis-server is missing; run tests/env/packages.sh redis'; fi
  pg_child='' redis_child=''
  trap abandon EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  choose_sockets
  choose_data
  if [[ ! -d $sockets/pg ]]; then
    mkdir -m 0700 -- "$sockets/pg"
  fi
  if ((EUID == 0)); then
    if [[ -d $data ]]; then chown --reference="$data" -- "$sockets/pg"; else chown postgres:postgres -- "$sockets/pg"; fi
  fi
  [[ -d $redis ]] || mkdir -m 0700 -- "$redis"
  [[ -d $sockets/redis ]] || mkdir -m 0700 -- "$sockets/redis"
  if ((EUID == 0)); then
    # data of an ordinary user keeps its owner when root starts the servers
    chown --reference="$redis" -- "$sockets/redis"
  fi
  trim_log "$dir/pg.log"
  trim_log "$dir/redis.log"

  local pg_ready=yes redis_ready=yes
  if [[ $what != pg ]] && ! is_up redis-server "$redis/redis.conf" "$sockets/redis/redis.sock"; then
    redis_ready=no
    spawn_redis
  fi
  if [[ $what != redis ]] && ! is_up postgres "$data" "$sockets/pg/.s.PGSQL.$PG_PORT"; then
    pg_ready=no
    make_cluster
    spawn_postgres
  fi
  await_servers "$pg_ready" "$redis_ready"
  write_env
  trap - EXIT INT TERM HUP
  if [[ -n $owner ]]; then watch_owner; fi
}

# ---- stop ------------------------------------------------------------------------------------------------------------

# Stops a server and waits for it. For PostgreSQL SIGINT is the fast shutdown, SIGQUIT the immediate one.
stop_one() {
  local name=$1 mark=$2 pid stop_signal=TERM kill_signal=KILL
  pid=$(server_pid "$name" "$mark")
  [[ -n $pid ]] || return 0
  if [[ $name == postgres ]]; then stop_signal=INT kill_signal=QUIT; fi
  kill -"$stop_signal" "$pid" 2>/dev/null || ! is_server "$pid" "$name" "$mark" || fail "failed to stop $name (pid $pid) as $(id -un)"
  local deadline=$((SECONDS + STOP_TIMEOUT_SECONDS)) killed=no
  while is_server "$pid" "$name" "$mark"; do
    if ((SECONDS >= deadline)); then
      [[ $killed == no ]] || fail "failed to stop $name (pid $pid)"
      log "$name (pid $pid) did not stop within $STOP_TIMEOUT_SECONDS s; sending SIG$kill_signal"
      kill -"$kill_signal" "$pid" 2>/dev/null || true
      killed=yes
      deadline=$((SECONDS + STOP_TIMEOUT_SECONDS))
    fi
    sleep "$POLL_SECONDS"
  done
}

stop() {
  local stopping=() job status=0
  find_data
  if [[ $what != redis ]]; then
    stop_one postgres "$data" &
    stopping+=($!)
  fi
  if [[ $what != pg ]]; then
    stop_one redis-server "$redis/redis.conf" &
    stopping+=($!)
  fi
  for job in "${stopping[@]}"; do wait "$job" || status=1; done
  ((status == 0)) || exit "$status"
  if [[ $what == all ]]; then rm -f -- "$dir/owner"; fi
  if [[ $what != pg ]]; then rm -f -- "$redis/redis.pid"; fi
}

discard() {
  what=all
  stop
  find_sockets
  rm -rf -- "$data" "$data.new" "$redis" "$sockets"
  [[ $data == "$dir/pg" ]] || rmdir -- "${data%/pg}" 2>/dev/null || true
  rm -f -- "$dir"/{pg.path,sockets.path,pg.password,pg.log,redis.log,services.env,owner}
  rmdir -- "$dir" 2>/dev/null || true
}

# ---- the owner -------------------------------------------------------------------------------------------------------

# Starts a process that waits until the owner exits. DIR/owner names the latest one; earlier ones do nothing.
watch_owner() {
  local token
  token=$owner-$(random_hex)
  printf '%s\n' "$token" >"$dir/owner"
  find_sockets
  setsid -- "$BASH" "${BASH_SOURCE[0]}" --watch "$dir" "$owner" "$token" "$discard_after" "$data" "$sockets" \
    </dev/null >/dev/null 2>&1 9>&- &
  disown
}

# --watch DIR PID TOKEN yes|no DATA SOCKETS
watch() {
  dir=$1 redis=$1/redis what=all
  local pid=$2 token=$3 discard_after=$4 noted_data=$5 noted_sockets=$6 noted=''
  tail --pid="$pid" -s 0.5 -f /dev/null || true
  if [[ ! -d $dir ]]; then
    # the owner removed DIR without stopping the servers
    stop_one postgres "$noted_data"
    stop_one redis-server "$redis/redis.conf"
    [[ $noted_sockets != /tmp/brandgate.* ]] || rm -rf -- "$noted_sockets"
    [[ $noted_data != /var/tmp/brandgate.*/pg ]] || rm -rf -- "${noted_data%/pg}"
    return
  fi
  lock
  { read -r noted <"$dir/owner"; } 2>/dev/null || true
  [[ $noted == "$token" ]] || return 0
  if [[ $discard_after == yes ]]; then discard; else stop; fi
}

# ---- the command line ------------------------------------------------------------------------------------------------

# Serialises calls for a DIR. Servers are started with descriptor 9 closed, so that they do not inherit the lock.
lock() {
  exec 9<"$dir"
  flock -w "$LOCK_TIMEOUT_SECONDS" 9 || fail "timed out after $LOCK_TIMEOUT_SECONDS s waiting for another call for $dir"
}

command=${1:-}
if [[ $command == --watch ]]; then
  shift
  watch "$@"
  exit
fi
(($# >= 2)) || usage
dir=$2
shift 2
what=all fast=no owner='' discard_after=no tcp_address=''
while (($#)); do
  case $1 in
    pg | redis | all) what=$1 ;;
    --fast) fast=yes ;;
    --discard) discard_after=yes ;;
    --tcp)
      tcp_address=127.0.0.1 PG_PORT=${2:-}
      [[ $PG_PORT =~ ^[0-9]+$ ]] || usage
      shift
      ;;
    --owner)
      owner=${2:-}
      [[ $owner =~ ^[0-9]+$ ]] || usage
      shift
      ;;
    *) usage ;;
  esac
  shift
done
case $command in start | stop | discard) ;; *) usage ;; esac
[[ $dir != *$'\n'* ]] || fail 'the name of the directory contains a line break'
if [[ ! -d $dir ]]; then
  [[ $command == start ]] || exit 0
  mkdir -p -- "$dir"
fi
dir=$(cd -- "$dir" && pwd -P)
[[ -w $dir ]] || fail "$dir is not writable for $(id -un) (it belongs to $(stat -c %U -- "$dir"))"
redis=$dir/redis
lock
"$command"
