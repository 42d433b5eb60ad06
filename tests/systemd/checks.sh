#!/usr/bin/env bash
# Installs brandgate as its package does, under a real systemd, and tests what operators rely on.
#
#   checks.sh BINARY-DIRECTORY       inside the machine of machine.sh, called by run.sh
#
# It changes the system and runs only inside that machine.

set -euo pipefail
[[ $(hostname) == brandgate-test && -d /repo/systemd ]] || {
  echo 'checks.sh runs only inside the machine of tests/systemd/run.sh' >&2
  exit 2
}
cd /repo/tests/systemd
# shellcheck source=tests/systemd/site.sh
source ./site.sh
# shellcheck source=tests/systemd/restore.sh
source ./restore.sh
readonly BINARIES=$1 UNITS=/usr/lib/systemd/system HOOK=/usr/local/lib/brandgate-deploy-hook
# The maximum exposure of systemd-analyze security, in tenths.
readonly MAX_EXPOSURE=10
readonly ADMIN=http://127.0.0.1:9445 WORK_ADMIN=http://127.0.0.1:9446
readonly PG_BIN=/usr/lib/postgresql/15/bin PG_DATA=/var/lib/brandgate-test-pg
readonly SERVICES=(brandgate brandgate-work brandgate-migrate brandgate-prepare brandgate-check@)

# ---- installation ----------------------------------------------------------------------------------------------------

install_files() {
  local directory
  mkdir -p -- "$WORK" /usr/share/doc/brandgate /etc/brandgate
  install -m 0755 -- "$BINARIES/brandgate" /usr/bin/brandgate
  install -m 0755 -- /repo/systemd/certbot/brandgate-deploy-hook "$HOOK"
  install -m 0644 -- /repo/systemd/*.service /repo/systemd/*.socket "$UNITS"
  for directory in /repo/systemd/*.socket.d; do
    mkdir -p -- "$UNITS/${directory##*/}"
    install -m 0644 -- "$directory"/*.conf "$UNITS/${directory##*/}"
  done
  install -m 0644 -- /repo/systemd/README.md /usr/share/doc/brandgate/operations.md
  install -m 0644 -- /repo/systemd/sysusers.d/brandgate.conf /usr/lib/sysusers.d/brandgate.conf
  install -m 0644 -- /repo/systemd/tmpfiles.d/brandgate.conf /usr/lib/tmpfiles.d/brandgate.conf
  systemd-sysusers /usr/lib/sysusers.d/brandgate.conf
  systemd-tmpfiles --create /usr/lib/tmpfiles.d/brandgate.conf
  install -m 0644 -- /repo/brands/*.toml /etc/brandgate/brands/
}

# With the authentication of Debian's package: peer on sockets, passwords on TCP.
make_cluster() {
  install -d -o postgres -g postgres -m 0700 "$PG_DATA"
  as_postgres initdb -D "$PG_DATA" --no-sync --auth-local=peer --auth-host=scram-sha-256 --locale=C.UTF-8 --encoding=UTF8 \
    >"$WORK/initdb.log" || fail "failed to run initdb: $(<"$WORK/initdb.log")"
}

install_services() {
  install -d -o postgres -g postgres -m 2775 /run/postgresql
  make_cluster
  cat >/etc/systemd/system/test-postgresql.service <<UNIT
[Service]
Type=notify
User=postgres
ExecStart=$PG_BIN/postgres -D $PG_DATA -c fsync=off -c listen_addresses=127.0.0.1 -c unix_socket_directories=/run/postgresql
KillSignal=SIGINT
UNIT
  cat >/etc/systemd/system/test-redis.service <<'UNIT'
[Service]
Type=notify
ExecStart=/usr/bin/redis-server --supervised systemd --daemonize no --port 6379 --bind 127.0.0.1 --dir /run/redis --appendonly yes --maxmemory-policy noeviction
RuntimeDirectory=redis
Restart=always
UNIT
  systemctl daemon-reload
  systemctl start test-postgresql.service test-redis.service
}

# ---- files -----------------------------------------------------------------------------------------------------------

check_files() {
  local unit said units=()
  for unit in "$UNITS"/brandgate*.service "$UNITS"/brandgate-*.socket; do units+=("$unit"); done
  said=$(systemd-analyze verify "${units[@]}" brandgate@dexar.socket brandgate@novo.socket 2>&1 >/dev/null || true)
  [[ -z $said ]] || fail "systemd-analyze verify: $said"
  ok 'systemd-analyze verify reports nothing'
  for unit in "${SERVICES[@]}"; do
    said=$(systemd-analyze security --offline=yes --threshold="$MAX_EXPOSURE" --no-pager "$UNITS/$unit.service" 2>&1) ||
      fail "$unit.service is too exposed: $(tail -n 1 <<<"$said")"
    ok "${said##*→ }"
  done
  # All services share the same sandbox settings.
  for unit in brandgate-work brandgate-migrate brandgate-prepare brandgate-check@; do
    said=$(diff <(sandbox_of brandgate) <(sandbox_of "$unit")) || fail "the sandbox of $unit.service differs: $said"
  done
}

sandbox_of() {
  sed -n '/^UMask=/,/^\[Install\]/p' "$UNITS/$1.service" | grep -v -e '^#' -e '^$' -e '^\['
}

# ---- running services ------------------------------------------------------------------------------------------------

# The time from the connection, which starts the gateway, to the response.
check_cold_start() {
  local took_s brand
  for brand in dexar novo; do
    took_s=$(fetch "$brand" /category -o /dev/null -w '%{http_code} %{time_total}')
    [[ $took_s == '200 '* ]] || fail "the first request of $brand: $took_s"
    ok "$brand: first response after ${took_s#200 } s$([[ $brand == novo ]] || printf ', including the start of the gateway')"
  done
  [[ $(property brandgate.service ActiveState) == active ]] || fail 'brandgate.service is not active'
  [[ $(property brandgate.service NRestarts) == 0 ]] || fail 'the gateway was restarted'
}

check_status() {
  within 10 grep_status 'serving dexar, novo' || fail "the status line is: $(property brandgate.service StatusText)"
  curl -sSf --noproxy '*' "$ADMIN/readyz" >/dev/null || fail 'failed to get /readyz of the gateway'
  curl -sSf --noproxy '*' --max-time 5 "$WORK_ADMIN/healthz" >/dev/null || fail 'failed to get /healthz of the workers'
  grep -q '^brandgate_' <<<"$(curl -sSf --noproxy '*' --max-time 5 "$ADMIN/metrics")" || fail 'failed to get /metrics of the gateway'
  ok "systemctl status: $(property brandgate.service StatusText)"
}
grep_status() { [[ $(property brandgate.service StatusText) == *"$1"* ]]; }

check_sandbox() {
  local pid field unit
  for unit in brandgate brandgate-work; do
    pid=$(property "$unit.service" MainPID)
    for field in CapInh CapPrm CapEff CapBnd CapAmb; do
      [[ $(sed -n "s/^$field:\s*//p" "/proc/$pid/status") == 0000000000000000 ]] || fail "$unit has capabilities ($field)"
    done
    [[ $(sed -n 's/^NoNewPrivs:\s*//p' "/proc/$pid/status") == 1 ]] || fail "$unit could gain privileges"
    [[ $(sed -n 's/^Seccomp:\s*//p' "/proc/$pid/status") == 2 ]] || fail "$unit has no system call filter"
    [[ $(awk '/^Uid:/ { print $2 }' "/proc/$pid/status") == "$(id -u brandgate)" ]] || fail "$unit does not run as brandgate"
    # /proc/PID/root is the root directory of the service.
    [[ ! -e /proc/$pid/root/home && ! -e /proc/$pid/root/var/lib/postgresql && ! -e /proc/$pid/root/usr/bin/bash ]] ||
      fail "the root directory of $unit has unneeded files: $(find "/proc/$pid/root/" -maxdepth 1 -printf '%P ')"
    as_service "$pid" cat /etc/hostname || fail "failed to read files as $unit"
    if as_service "$pid" cat /etc/brandgate/credentials/dexar.database-password; then fail "$unit can read the credentials in /etc"; fi
    if as_service "$pid" cat /etc/shadow; then fail "$unit can read /etc/shadow"; fi
    if as_service "$pid" touch /etc/brandgate/brands/new || as_service "$pid" touch /new; then fail "$unit can write to the disk"; fi
    as_service "$pid" cat /etc/brandgate/certs/dexar/privkey.pem || fail "$unit cannot read the key of the certificate"
  done
  ok 'no capabilities, no new privileges, filtered system calls, a minimal read-only root'
}

# as_service PID PROGRAM ARGUMENT…: runs a program in the mount namespace of the service, as its user. Its root has no programs,
# so this one is passed as an open file to the loader.
as_service() {
  local pid=$1 program loader
  program=$(command -v "$2")
  loader=$(ldd "$program" | awk '$1 ~ /^\/.*ld-linux/ { print $1 }')
  shift 2
  nsenter -t "$pid" --mount --user --setuid "$(id -u brandgate)" --setgid "$(id -g brandgate)" -- \
    "$loader" /proc/self/fd/9 "$@" 9<"$program" >/dev/null 2>&1
}

# unit_reads SETTING FILE
unit_reads() {
  printf '[Service]\nType=oneshot\n%s\nExecStart=/bin/cat %s\n' "$1" "$2" >/run/systemd/system/test-reader.service
  systemctl daemon-reload
  systemctl start test-reader.service 2>/dev/null
}

check_credentials() {
  local directory name
  name=brandgate_dexar.database-password
  directory=/run/credentials/brandgate.service
  [[ -s $directory/$name ]] || fail "$directory/$name is missing"
  [[ $(<"$directory/$name") == "$(</etc/brandgate/credentials/dexar.database-password)" ]] || fail 'the credential has the wrong content'
  # Other units and other users.
  unit_reads User=nobody /etc/hostname || fail 'the test unit cannot read any file'
  if unit_reads User=nobody "$directory/$name"; then fail 'the user nobody can read a credential'; fi
  if unit_reads DynamicUser=yes "$directory/$name"; then fail 'another unit can read a credential'; fi
  if setpriv --reuid=postgres --regid=postgres --init-groups cat /etc/brandgate/credentials/dexar.bank-key 2>/dev/null; then
    fail 'the user postgres can read a credential'
  fi
  if setpriv --reuid=brandgate --regid=brandgate --clear-groups cat /etc/brandgate/credentials/dexar.bank-key 2>/dev/null; then
    fail 'the user brandgate can read a credential in /etc'
  fi
  if grep -qaz -e "$(</etc/brandgate/credentials/dexar.database-password)" "/proc/$(property brandgate.service MainPID)/environ"; then
    fail 'the environment contains a secret'
  fi
  ok 'credentials: readable for the service, not for nobody, another unit or postgres, and not in the environment'
}

# ---- restarts --------------------------------------------------------------------------------------------------------

# load NAME ARGUMENT…: starts wrk in the background, with its report in a file.
load() {
  local report=$WORK/wrk.$1
  shift
  wrk -t1 --latency "$@" "https://127.0.0.1:445/category" >"$report" 2>&1 &
  load_job=$!
}

# Checks the load: no request failed, and none took 5 s or longer (less than 2 s on an idle machine).
check_load() {
  local report=$WORK/wrk.$1 requests max_latency
  wait "$load_job" || fail "wrk: $(<"$report")"
  if grep -E 'Socket errors|Non-2xx' "$report" >&2; then fail "$1: requests failed: $(<"$report")"; fi
  requests=$(sed -n 's/^ *\([0-9]*\) requests in .*/\1/p' "$report")
  max_latency=$(awk '$1 == "Latency" && NF == 5 { print $4 }' "$report")
  [[ $requests -gt 100 ]] || fail "$1: only ${requests:-no} requests: $(<"$report")"
  [[ $max_latency =~ ^([0-4](\.[0-9]+)?s|[0-9.]+[mu]s)$ ]] || fail "$1: a request took $max_latency"
  ok "$1: $requests requests, none failed, maximum latency $max_latency"
}

check_restarts() {
  local before silent
  # A client with an incomplete request must not delay the restart.
  { printf 'GET /category HTTP/1.1\r\nHost: localhost\r\n' && sleep 60; } | openssl s_client -quiet -connect 127.0.0.1:445 >/dev/null 2>&1 &
  silent=$!
  before=$(property brandgate.service MainPID)
  load 'new connections, 2 restarts' -c16 -d6 -H 'Connection: close'
  within 10 has_load
  systemctl restart brandgate.service
  systemctl restart brandgate.service
  check_load 'new connections, 2 restarts'
  [[ $(property brandgate.service MainPID) != "$before" ]] || fail 'the gateway was not restarted'
  load 'persistent connections, 2 restarts' -c16 -d6
  within 10 has_load
  systemctl restart brandgate.service
  systemctl restart brandgate.service
  check_load 'persistent connections, 2 restarts'
  kill "$silent" 2>/dev/null || true
}
has_load() { [[ $(ss -Htn 'sport = :445' | wc -l) -ge 8 ]]; }

check_kill() {
  local before
  before=$(property brandgate.service MainPID)
  kill -KILL "$before"
  answers dexar || fail 'no response after SIGKILL'
  [[ $(property brandgate.service MainPID) != "$before" ]] || fail 'the gateway was not killed'
  ok 'SIGKILL: the next request waits for the new process and succeeds'
}

check_watchdog() {
  local before started_ms
  mkdir -p /run/systemd/system/brandgate.service.d
  printf '[Service]\nWatchdogSec=3s\n' >/run/systemd/system/brandgate.service.d/test.conf
  systemctl daemon-reload
  systemctl restart brandgate.service
  before=$(property brandgate.service MainPID)
  started_ms=$(now_ms)
  kill -STOP "$before"
  fetch dexar /category --retry 3 --retry-all-errors --retry-delay 1 -o /dev/null --fail || fail 'no response after the watchdog'
  [[ $(property brandgate.service MainPID) != "$before" ]] || fail 'the stopped process was not replaced'
  ok "SIGSTOP with a watchdog of 3 s: response of a new process after $(($(now_ms) - started_ms)) ms"
  rm -r /run/systemd/system/brandgate.service.d
  systemctl daemon-reload
  systemctl restart brandgate.service
}

# ---- reloads ---------------------------------------------------------------------------------------------------------

allows() {
  local heads
  heads=$(fetch dexar /regions -H "Origin: $1" -o /dev/null -D -) || fail 'no response'
  grep -qi "^access-control-allow-origin: $1" <<<"$heads"
}
refuses() { ! allows "$1"; }

check_reload() {
  local file=/etc/brandgate/brands/dexar.toml before new=https://new.dexarmarket.ru newer=https://newer.dexarmarket.ru line said
  cp -- "$file" "$WORK/dexar.toml"
  before=$(property brandgate.service MainPID)
  allows https://dexarmarket.ru || fail 'the origin of the shop is rejected'
  refuses "$new" || fail "$new is allowed already"
  sed -i "s|^origins = \\[|&\"$new\", |" "$file"
  systemctl reload brandgate.service
  allows "$new" || fail 'the reload did not apply the new origin'
  grep_status 'serving dexar, novo' || fail "the status line is: $(property brandgate.service StatusText)"
  ok 'systemctl reload: the changed file is applied when it returns'

  sed -i "s|^origins = \\[|&\"$newer\", |; s|^\[database\]|&\nno_such_key = 1|" "$file"
  line=$(grep -n no_such_key "$file" | cut -d: -f1)
  said=$(! systemctl reload brandgate.service 2>&1) || fail "an invalid reload was reported as a success: $said"
  [[ $(systemctl is-active brandgate.service) == active ]] || fail 'an invalid reload stopped the gateway'
  within 5 grep_status 'reload refused' || fail "the status line is: $(property brandgate.service StatusText)"
  grep_status "dexar.toml:$line" || fail "the status line does not name the line: $(property brandgate.service StatusText)"
  grep -q 'reload refused' <<<"$(systemctl status --no-pager brandgate.service)" || fail 'systemctl status does not show the rejected reload'
  allows "$new" || fail 'the previous configuration is not in effect'
  refuses "$newer" || fail 'the invalid file was applied'
  ok "invalid file: $(property brandgate.service StatusText)"

  cp -- "$WORK/dexar.toml" "$file"
  systemctl reload brandgate.service brandgate-work.service
  refuses "$new" || fail 'the corrected file was not applied'
  [[ $(property brandgate.service MainPID) == "$before" ]] || fail 'the reload restarted the gateway'
  ok 'corrected file: applied by the same process'
}

# A brand's file that the service's user cannot read: root could.
check_broken_brand() {
  local file=/etc/brandgate/brands/novo.toml before status
  systemctl start brandgate-check@9445.service brandgate-check@9446.service || fail 'the check of a sound installation failed'
  chmod 0600 "$file"
  if systemctl start brandgate-check@9445.service; then fail 'the check did not notice that the service cannot read a file'; fi
  ok "the check before an upgrade: $(journalctl -q -n 1 -o cat -u brandgate-check@9445.service -g 'served now')"
  systemctl restart brandgate.service brandgate-work.service
  answers dexar || fail 'dexar does not respond while novo is broken'
  within 10 grep_status 'degraded: novo: ' || fail "the status line is: $(property brandgate.service StatusText)"
  grep_status 'serving dexar' || fail "the status line is: $(property brandgate.service StatusText)"
  ok "a broken brand: $(property brandgate.service StatusText)"
  status=0
  fetch novo /category -o /dev/null --max-time 5 2>/dev/null || status=$?
  [[ $status != 0 && $status != 28 ]] || fail "a client of the broken brand waited or was served: $status"
  systemctl start brandgate-check@9445.service || fail 'a brand that is broken already holds an upgrade back'
  before=$(property brandgate.service MainPID)
  chmod 0644 "$file"
  within 10 answers novo || fail 'novo did not recover'
  within 10 grep_status 'serving dexar, novo' || fail "the status line is: $(property brandgate.service StatusText)"
  [[ $(property brandgate.service MainPID) == "$before" ]] || fail 'the recovery restarted the gateway'
  ok 'the broken brand recovered in the same process'
}

fingerprint() {
  openssl s_client -connect "127.0.0.1:$(port_of "$1")" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256
}
serves_certificate() { [[ $(fingerprint "$1") == "$2" ]]; }

check_renewal() {
  local old new
  old=$(fingerprint dexar)
  rm -- "$WORK/certs/dexar.pem" "$WORK/certs/dexar.key"
  make_certificates
  new=$(openssl x509 -in "$WORK/certs/dexar.pem" -noout -fingerprint -sha256)
  [[ $old != "$new" ]] || fail 'the certificate is not new'
  hand_over_certificate dexar
  serves_certificate dexar "$new" || fail 'the hook has run, and the old certificate is served'
  [[ $(stat -c '%a %U %G' /etc/brandgate/certs/dexar/privkey.pem) == '640 root brandgate' ]] || fail 'modes of the key'
  ok 'the certbot hook: the new certificate is served when it returns'
  [[ $(RENEWED_LINEAGE=$WORK/live/dexar RENEWED_DOMAINS='*.example.org example.org' "$HOOK") == *': no brand in '* ]] || fail 'the hook installs a certificate of a foreign host'
  [[ $(RENEWED_LINEAGE=$WORK/live/novo RENEWED_DOMAINS='*.novo.market' "$HOOK") == *': installed the certificate of '*' for novo'* ]] || fail 'the hook does not match a wildcard'
  [[ $("$HOOK" "$WORK/live/dexar" novo 2>&1) == *'does not cover api.novo.market, the host of novo; nothing was changed' ]] ||
    fail 'the hook installs the certificate of dexar for novo'
  # The directory is watched for changes by other tools.
  rm -- "$WORK/certs/novo.pem" "$WORK/certs/novo.key"
  make_certificates
  new=$(openssl x509 -in "$WORK/certs/novo.pem" -noout -fingerprint -sha256)
  install -m 0640 -g brandgate -- "$WORK/certs/novo.key" /etc/brandgate/certs/novo/privkey.pem
  install -m 0640 -g brandgate -- "$WORK/certs/novo.pem" /etc/brandgate/certs/novo/fullchain.pem
  within 15 serves_certificate novo "$new" || fail 'a certificate replaced without a reload is not served'
  ok 'certificates replaced without a reload are served'
}

# The shipped egress filter allows PostgreSQL and Redis here, and the shops stay reachable.
check_egress() {
  local directory=/etc/systemd/system/brandgate.service.d said
  install -D -m 0644 -- /repo/systemd/brandgate.service.d/egress.conf.example "$directory/egress.conf"
  systemctl daemon-reload
  said=$(systemd-analyze verify brandgate.service 2>&1 >/dev/null || true)
  [[ -z $said ]] || fail "egress.conf: $said"
  systemctl restart brandgate.service
  answers dexar || fail 'the egress filter blocks the shop'
  rm -r -- "$directory"/egress.conf
  systemctl daemon-reload
  ok 'egress filter: the shop is reachable'
}

# ---- restarts of PostgreSQL and Redis --------------------------------------------------------------------------------

check_services_restart() {
  systemctl restart test-redis.service
  within 20 answers dexar /cart || fail 'carts are unavailable after a restart of Redis'
  systemctl restart test-postgresql.service
  within 20 answers dexar || fail 'the catalogue is unavailable after a restart of PostgreSQL'
  [[ $(property brandgate.service NRestarts) == 0 ]] || fail 'the gateway exited with its database'
  ok 'restarts of Redis and PostgreSQL: the gateway recovers'
}

# Adds a third brand as documented in systemd/README.md, while the first one is under load.
check_new_brand() {
  local etc=/etc/brandgate kind said
  sed -e 's/dexar/third/g; s/Dexar/Third/g; s/:445/:446/g' -e '/^origins = /s/=.*/= ["https:\/\/third.example"]/' \
    -e 's/^public_url = .*/public_url = "https:\/\/api.third.example:446"/' \
    "$WORK/dexar.toml" >"$etc/brands/third.toml"
  for kind in database-password telegram-bot-token bank-key smtp-password; do
    cp -p -- "$etc/credentials/dexar.$kind" "$etc/credentials/third.$kind"
  done
  /repo/tests/env/certs.sh "$WORK/certs" third=api.third.example
  mkdir -p -- "$WORK/live/third"
  cp -- "$WORK/certs/third.pem" "$WORK/live/third/fullchain.pem"
  cp -- "$WORK/certs/third.key" "$WORK/live/third/privkey.pem"
  "$HOOK" "$WORK/live/third" third >/dev/null || fail 'the hook does not install the certificate of a new brand'
  said=$(! systemctl reload brandgate.service 2>&1) || fail "a brand without credentials was accepted: $said"
  grep_status 'third.database-password was not passed to the service' || fail "the status line is: $(property brandgate.service StatusText)"
  systemctl start brandgate-prepare.service
  mkdir -p /etc/systemd/system/brandgate@third.socket.d
  printf '[Socket]\nListenStream=0.0.0.0:446\n' >/etc/systemd/system/brandgate@third.socket.d/listen.conf
  load 'adding a third brand' -c8 -d4 -H 'Connection: close'
  within 10 has_load
  systemctl enable -q brandgate@third.socket
  systemctl restart brandgate.service brandgate-work.service
  check_load 'adding a third brand'
  [[ $(curl -sS --noproxy '*' --cacert "$WORK/certs/ca.pem" -o /dev/null -w '%{http_code}' https://localhost:446/category) == 200 ]] ||
    fail 'the third brand does not respond'
  systemctl stop brandgate@third.socket
  systemctl disable -q brandgate@third.socket
  rm -r -- "$etc"/brands/third.toml "$etc"/credentials/third.* /etc/systemd/system/brandgate@third.socket.d
  systemctl daemon-reload
  systemctl restart brandgate.service brandgate-work.service
}

# Rotates secrets as documented in systemd/README.md.
check_rotation() {
  local etc=/etc/brandgate first second brand
  load 'rotating the database password' -c8 -d4 -H 'Connection: close'
  within 10 has_load
  (umask 077 && random_hex 32 >"$etc/credentials/dexar.database-password")
  systemctl start brandgate-prepare.service
  systemctl restart brandgate.service brandgate-work.service
  check_load 'rotating the database password'
  first=$(random_hex 16) second=$(random_hex 16)
  redis_cli acl setuser default resetpass ">$first"
  for brand in dexar novo; do
    cp -p -- "$etc/brands/$brand.toml" "$WORK/$brand.before"
    sed -i "s|^\[redis\]|&\npassword = \"$brand.redis-password\"|" "$etc/brands/$brand.toml"
    new_redis_password "$brand" "$first"
  done
  systemctl restart brandgate.service brandgate-work.service
  within 10 is_ready || fail "not ready with a Redis password: $(curl -sS --noproxy '*' "$ADMIN/readyz")"
  redis_cli -a "$first" acl setuser default ">$second"
  for brand in dexar novo; do new_redis_password "$brand" "$second"; done
  systemctl restart brandgate.service brandgate-work.service
  redis_cli -a "$second" acl setuser default "<$first"
  systemctl restart brandgate.service
  within 10 is_ready || fail "not ready with a new Redis password: $(curl -sS --noproxy '*' "$ADMIN/readyz")"
  redis_cli -a "$second" acl setuser default nopass
  for brand in dexar novo; do
    cp -p -- "$WORK/$brand.before" "$etc/brands/$brand.toml"
    rm -- "$etc/credentials/$brand.redis-password"
  done
  systemctl restart brandgate.service brandgate-work.service
  ok 'passwords of PostgreSQL and Redis rotated: ready'
}
redis_cli() { redis-cli --no-auth-warning "$@" >/dev/null; }
new_redis_password() { (umask 077 && printf '%s' "$2" >"/etc/brandgate/credentials/$1.redis-password"); }
is_ready() {
  local said
  said=$(curl -sSf --noproxy '*' --max-time 5 "$ADMIN/readyz") && [[ $said == *dexar* && $said != *redis* && $said != *postgresql* ]]
}

# Prints the logs and the reason of a failure last.
at_failure() {
  local status=$?
  if ((status == 0)); then return; fi
  {
    journalctl --no-pager -o short-precise | grep -v -e ' request completed ' -e 'Illegal SNI' | tail -n 80
    systemctl status --no-pager -n 0 brandgate.service brandgate-work.service brandgate-migrate.service
    printf '\nFAILED: %s\n' "${reason:-$BASH_COMMAND (checks.sh:${BASH_LINENO[0]})}"
  } >&2 2>&1
  exit "$status"
}
trap at_failure EXIT

last_ms=$(now_ms)
install_files
install_services
make_certificates
make_secrets
hand_over_certificate dexar >/dev/null
hand_over_certificate novo >/dev/null
as_postgres createdb --template=template0 --encoding=UTF8 --locale=C.UTF-8 brandgate
ok 'files, PostgreSQL and Redis, certificates, secrets'
check_files
systemctl daemon-reload
systemctl start brandgate-prepare.service || fail 'failed to start brandgate-prepare'
import_catalogues
ok 'roles, schemas and isolation by brandgate-prepare; both catalogues'
systemctl enable -q --now brandgate@dexar.socket brandgate@novo.socket brandgate-admin.socket brandgate-work-admin.socket
systemctl enable -q brandgate.service brandgate-work.service
[[ $(property brandgate.service ActiveState) == inactive ]] || fail 'the gateway runs before the first connection'
systemctl start brandgate-migrate.service
check_cold_start
systemctl start brandgate-work.service
check_status
check_sandbox
check_credentials
check_restarts
check_kill
check_watchdog
check_reload
check_broken_brand
check_renewal
check_egress
check_services_restart
check_new_brand
check_rotation
check_restore
