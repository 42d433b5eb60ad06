#!/usr/bin/env bash
# Installs, upgrades, removes and purges the package as an operator does.
#
#   package-checks.sh DIRECTORY      with 0.0.1-1.deb and 0.0.2-1.deb; inside the machine of machine.sh, called by package.sh
#
# The commands between the `page` marks are those of systemd/README.md, in the same order. It runs only inside that machine.

set -euo pipefail
[[ $(hostname) == brandgate-test && -d /repo/systemd ]] || {
  echo 'package-checks.sh runs only inside the machine of tests/systemd/package.sh' >&2
  exit 2
}
cd /repo/tests/systemd
# shellcheck source=tests/systemd/site.sh
source ./site.sh
readonly DEBS=$1 HOOK=/etc/letsencrypt/renewal-hooks/deploy/brandgate

at_failure() {
  local status=$?
  if ((status == 0)); then return; fi
  {
    journalctl --no-pager -o short-precise | grep -v -e ' request completed ' | tail -n 60
    printf '\nFAILED: %s\n' "${reason:-$BASH_COMMAND (package-checks.sh:${BASH_LINENO[0]})}"
  } >&2 2>&1
  exit "$status"
}
trap at_failure EXIT

installed() { dpkg-query -W -f='${Status} ${Version}' brandgate 2>/dev/null; }

install_package() {
  DEBIAN_FRONTEND=noninteractive dpkg --force-confold -i "$DEBS/$1.deb" >"$WORK/dpkg.log" 2>&1 || {
    cat "$WORK/dpkg.log" >&2
    fail "failed to install $1"
  }
}

last_ms=$(now_ms)
mkdir -p -- "$WORK"
systemctl start postgresql.service redis-server.service
within 30 as_postgres psql -Atc 'select 1' || fail 'failed to start PostgreSQL'
redis-cli config set appendonly yes >/dev/null
ok 'a bare Debian with its own PostgreSQL and Redis'

install_package 0.0.1-1
[[ $(installed) == 'install ok installed 0.0.1-1' ]] || fail "the package status is: $(installed)"
[[ $(systemctl is-active brandgate.service) == inactive ]] || fail 'the first installation started the gateway'
[[ $(stat -c '%a %U %G' /etc/brandgate) == '750 root brandgate' ]] || fail 'wrong mode of /etc/brandgate'
[[ $(stat -c '%a %U' /etc/brandgate/credentials) == '700 root' ]] || fail 'wrong mode of /etc/brandgate/credentials'
said=$(systemd-analyze verify /usr/lib/systemd/system/brandgate*.service brandgate@dexar.socket brandgate@novo.socket 2>&1 >/dev/null || true)
[[ -z $said ]] || fail "systemd-analyze verify: $said"
for document in operations configuration import api; do
  [[ -s /usr/share/doc/brandgate/$document.md ]] || fail "$document.md is missing"
done
grep -q 'BRANDS' <<<"$(man brandgate 2>/dev/null)" || fail 'the manual page is missing'
bash -c 'source /usr/share/bash-completion/completions/brandgate && complete -p brandgate >/dev/null' || fail 'the bash completion is missing'
ok 'installed: nothing runs; modes, units, manual page and completion are correct'

# page: the steps of systemd/README.md, `Install`
make_secrets
as_postgres createdb --template=template0 --encoding=UTF8 --locale=C.UTF-8 brandgate
make_certificates
hand_over_certificate dexar >/dev/null
hand_over_certificate novo >/dev/null
systemctl start brandgate-prepare
import_catalogues
systemctl enable -q --now brandgate@dexar.socket brandgate@novo.socket brandgate brandgate-work
# page: end
for brand in dexar novo; do
  answers "$brand" || fail "$brand does not respond"
done
[[ $(property brandgate.service ActiveState) == active ]] || fail 'brandgate.service is not active'
ok 'the documented steps: both shops respond'
pss_kb=$(awk '/^Pss:/ { print $2 }' "/proc/$(property brandgate.service MainPID)/smaps_rollup")
ok "the gateway after its first requests: $pss_kb kB PSS"

# The first package has one migration less.
schema_version() { as_postgres psql -Atc 'select max(version) from dexar.refinery_schema_history' brandgate; }
version_before=$(schema_version)

# Upgrades with an edited brand file, under load, which detects a refused connection.
sed -i 's|^title = "Dexar"|title = "Dexar the Shop"|' /etc/brandgate/brands/dexar.toml
sum=$(md5sum </etc/brandgate/brands/dexar.toml)
before=$(property brandgate.service MainPID)
: >"$WORK/answers"
(
  while [[ ! -e $WORK/enough ]]; do
    fetch novo /category -o /dev/null -w '%{http_code} %{time_total}\n' >>"$WORK/answers" 2>&1 || echo refused >>"$WORK/answers"
  done
) &
load_job=$!
within 10 grep -q 200 "$WORK/answers" || fail 'failed to start the load'
install_package 0.0.2-1
within 10 answers dexar || fail 'no response after the upgrade'
touch "$WORK/enough"
wait "$load_job"
[[ $(installed) == 'install ok installed 0.0.2-1' ]] || fail "the package status is: $(installed)"
[[ $(md5sum </etc/brandgate/brands/dexar.toml) == "$sum" ]] || fail 'the upgrade changed an edited brand file'
[[ $(property brandgate.service MainPID) != "$before" ]] || fail 'the upgrade did not restart the gateway'
[[ $(schema_version) -eq $((version_before + 1)) ]] || fail "the schema version is $(schema_version), not $((version_before + 1))"
if grep -v '^200 ' "$WORK/answers" >&2; then fail 'requests failed during the upgrade'; fi
ok "upgraded: the edited file stays; $(wc -l <"$WORK/answers") requests meanwhile, none failed, maximum latency $(sort -k2 -n "$WORK/answers" | tail -n 1 | cut -d' ' -f2) s"

# An upgrade whose migration fails: the running process keeps serving.
systemctl stop postgresql@15-main.service
before=$(property brandgate.service MainPID)
if dpkg --force-confold -i "$DEBS/0.0.1-1.deb" >"$WORK/dpkg.log" 2>&1; then fail 'an upgrade without a database succeeded'; fi
grep -q 'previous version keeps serving' "$WORK/dpkg.log" || fail "dpkg did not say so: $(<"$WORK/dpkg.log")"
[[ $(property brandgate.service MainPID) == "$before" ]] || fail 'the gateway was restarted'
systemctl start postgresql@15-main.service
within 20 as_postgres psql -Atc 'select 1' || fail 'failed to restart PostgreSQL'
dpkg --configure brandgate >"$WORK/dpkg.log" 2>&1 || fail "dpkg --configure: $(<"$WORK/dpkg.log")"
within 20 answers dexar || fail 'no response after dpkg --configure'
[[ $(schema_version) -eq $((version_before + 1)) ]] || fail 'the rollback changed the schema'
ok 'an upgrade without a database fails and the gateway keeps serving; dpkg --configure completes it (also a rollback: the previous version serves the newer schema)'

# An upgrade that would lose a brand: the service's user cannot read its file any more.
before=$(property brandgate.service MainPID)
chmod 0600 /etc/brandgate/brands/novo.toml
if dpkg --force-confold -i "$DEBS/0.0.2-1.deb" >"$WORK/dpkg.log" 2>&1; then
  fail 'an upgrade that loses a brand succeeded'
fi
grep -q 'previous version keeps serving' "$WORK/dpkg.log" || fail "dpkg did not say so: $(<"$WORK/dpkg.log")"
[[ $(property brandgate.service MainPID) == "$before" ]] || fail 'the gateway was restarted'
answers novo || fail 'novo is not served any more'
chmod 0644 /etc/brandgate/brands/novo.toml
dpkg --configure brandgate >"$WORK/dpkg.log" 2>&1 || fail "dpkg --configure: $(<"$WORK/dpkg.log")"
within 20 answers novo || fail 'no response after dpkg --configure'
ok 'an upgrade that would lose a brand is refused and the gateway keeps serving'

dpkg -r brandgate >"$WORK/dpkg.log" 2>&1 || fail "dpkg -r: $(<"$WORK/dpkg.log")"
[[ ! -e /usr/bin/brandgate && -z $(ss -Hltn 'sport = :445') ]] || fail 'something is still running'
[[ -s /etc/brandgate/certs/dexar/privkey.pem && -s /etc/brandgate/credentials/novo.bank-key && -s /etc/brandgate/brands/novo.toml ]] ||
  fail 'the removal deleted data'
[[ $(as_postgres psql -Atc 'select count(*) > 0 from dexar.item' brandgate) == t ]] || fail 'the removal deleted the database'
install_package 0.0.2-1
[[ $(md5sum </etc/brandgate/brands/dexar.toml) == "$sum" ]] || fail 'the reinstallation lost an edited file'
systemctl start brandgate@dexar.socket brandgate@novo.socket
within 10 answers dexar || fail 'no response after the reinstallation'
ok 'removed: nothing runs, all data is kept; reinstalled: serves'

touch /etc/brandgate/brands/third.toml
dpkg -P brandgate >"$WORK/dpkg.log" 2>&1 || fail "dpkg -P: $(<"$WORK/dpkg.log")"
[[ -s /etc/brandgate/certs/dexar/privkey.pem && -s /etc/brandgate/credentials/novo.bank-key && -e /etc/brandgate/brands/third.toml ]] ||
  fail 'the purge deleted certificates, secrets or another brand'
[[ $(md5sum </etc/brandgate/brands/dexar.toml.kept) == "$sum" ]] || fail 'the purge lost an edited brand file'
[[ ! -e /etc/brandgate/brands/novo.toml && ! -e /etc/brandgate/brands/novo.toml.kept ]] || fail 'the purge kept an unmodified file'
ok 'purged: certificates, secrets, other brands and edited files are kept'
