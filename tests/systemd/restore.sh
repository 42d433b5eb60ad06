# shellcheck shell=bash
# Tests a backup, the loss of the database and the restore, as documented in systemd/README.md.
#
# Sourced by checks.sh inside the machine. It replaces the PostgreSQL cluster with an empty one.

# The restore must bring back the catalogue and a visitor's cart.
check_restore() {
  local jar=$WORK/cookies item before after brand
  item=$(fetch dexar '/randomitems?count=1' | grep -o '"itemID":[0-9]*' | head -n 1 | cut -d: -f2)
  [[ -n $item ]] || fail 'the catalogue has no item'
  fetch dexar /cart -c "$jar" -o /dev/null
  fetch dexar /cart -b "$jar" -c "$jar" -o /dev/null --fail -H 'Content-Type: application/json' -d "{\"itemID\":$item,\"quantity\":1}" ||
    fail 'failed to add an item to the cart'
  before=$(contents "$jar")
  [[ $before == *"\"itemID\":$item"* ]] || fail "the cart is $before"

  as_postgres pg_dumpall --roles-only --no-role-passwords >"$WORK/roles.sql"
  as_postgres pg_dump --format=custom brandgate >"$WORK/brandgate.dump"
  if grep -q SCRAM "$WORK/roles.sql"; then fail 'the backup of the roles contains passwords'; fi

  systemctl stop brandgate@dexar.socket brandgate@novo.socket brandgate-admin.socket brandgate-work-admin.socket \
    brandgate.service brandgate-work.service brandgate-migrate.service test-postgresql.service
  mv -- "$PG_DATA" "$PG_DATA.lost"
  make_cluster
  systemctl start test-postgresql.service

  as_postgres psql -X -q -f "$WORK/roles.sql" postgres >"$WORK/psql.log" 2>&1 || fail "psql: $(<"$WORK/psql.log")"
  as_postgres pg_restore --create --exit-on-error --dbname=postgres "$WORK/brandgate.dump" || fail 'failed to run pg_restore'
  systemctl start brandgate-prepare.service || fail 'failed to start brandgate-prepare'
  systemctl start brandgate@dexar.socket brandgate@novo.socket brandgate.service brandgate-work.service

  after=$(contents "$jar")
  [[ $after == "$before" ]] || fail "before: $before, after: $after"
  for brand in dexar novo; do
    grep -q ' ok .*was tried and refused' <<<"$(brandgate check 2>&1)" || fail "$brand is not isolated: $(brandgate check 2>&1)"
  done
  ok 'a backup restored into an empty PostgreSQL: the same catalogue and cart, isolated brands'
}

# The cart and the catalogue as a visitor sees them.
contents() {
  fetch dexar /cart -b "$1"
  fetch dexar /category
  fetch novo /category
}
