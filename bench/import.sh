# shellcheck shell=bash disable=SC2154
# import.sh: a catalogue import compared with \copy of the same rows and CREATE INDEX. Sourced by run.sh.

readonly ITEM_COLUMNS="item_id, id, category_id, subcategory_id, name, simple_description, description, description_fields,
  currency, price, discount, quantity, remainings, rating, visible, priority, tags, badges, photos, questions, translations"

seconds_of() { # COMMAND…: prints its wall time in seconds
  local begun=$EPOCHREALTIME
  "$@" >/dev/null
  awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }'
}

# The rival: the same rows, exported once, into a table without indexes, then every index of `item`, then ANALYZE.
rival_copy() {
  psql_admin -c 'set search_path = dexar' -c 'drop table if exists rival' \
    -c 'create table rival (like item including defaults including generated including constraints)' \
    -c "\\copy rival (${ITEM_COLUMNS//$'\n'/ }) from '$work/rows.copy'" \
    -c 'alter table rival add primary key (item_id), add unique (id)' \
    -c 'create index on rival (node_id, priority desc, item_id) where visible' \
    -c 'create index on rival (category_id)' \
    -c 'create index on rival (subcategory_id) where subcategory_id is not null' \
    -c 'create index on rival using gin (search)' \
    -c 'analyze rival'
}

median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# Imports a file; prints total seconds, staging seconds and peak memory in kB.
import_once() {
  local begun=$EPOCHREALTIME out peak=0 rss pid
  "$BINARY" catalog import --brand dexar "$1" >"$work/import.out" 2>"$work/import.err" &
  pid=$!
  while [[ -r /proc/$pid/status ]]; do
    rss=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null || true)
    [[ -n $rss ]] && peak=$rss
    sleep 0.05
  done
  if ! wait "$pid"; then
    cat "$work/import.err" >&2
    exit 1
  fi
  out=$(grep -o 'staged in [0-9.]*' "$work/import.out" | grep -o '[0-9.]*$')
  awk -v a="$begun" -v b="$EPOCHREALTIME" -v s="$out" -v p="$peak" 'BEGIN { printf "%.2f %s %d\n", b - a, s, p }'
}

say "generating $ITEMS items, and four times as many to measure whether memory grows"
make_items "$work/items.jsonl" "$work/categories.jsonl" "$ITEMS"
make_items "$work/items4.jsonl" "$work/categories4.jsonl" $((ITEMS * 4))
"$BINARY" catalog import --brand dexar tests/data/demo/regions.jsonl "$work/categories.jsonl" >/dev/null
: >"$work/imports"
: >"$work/rivals"
for ((round = 1; round <= ROUNDS; round++)); do
  say "import, round $round of $ROUNDS"
  empty_shop
  import_once "$work/items.jsonl" >>"$work/imports"
  if [[ ! -s $work/rows.copy ]]; then
    psql_admin -c 'set search_path = dexar' -c "\\copy (select ${ITEM_COLUMNS//$'\n'/ } from item) to '$work/rows.copy'"
  fi
  empty_shop
  seconds_of rival_copy >>"$work/rivals"
  printf '\n' >>"$work/rivals"
done
empty_shop
say "four times the items"
read -r whole4 _ peak4 < <(import_once "$work/items4.jsonl")
whole=$(cut -d' ' -f1 "$work/imports" | median)
staging=$(cut -d' ' -f2 "$work/imports" | median)
peak=$(cut -d' ' -f3 "$work/imports" | median)
rival=$(median <"$work/rivals")
awk -v items="$ITEMS" -v whole="$whole" -v staging="$staging" -v peak="$peak" -v rival="$rival" -v whole4="$whole4" -v peak4="$peak4" 'BEGIN {
  printf "\n%-58s %12s %12s %8s %8s\n", "import of " items " items", "brandgate", "rival", "ratio", "goal"
  printf "%-58s %12.0f %12s %8s %8s\n", "items/s into staging", items / staging, "-", "-", "20000"
  printf "%-58s %12.0f %12.0f %8.2f %8s\n", "items/s whole (rival: \\copy, same indexes, ANALYZE)", items / whole, items / rival, rival / whole, "0.70"
  printf "%-58s %12.1f %12s %8s %8s\n", "peak memory of the importer, MB", peak / 1024, "-", "-", "-"
  printf "%-58s %12.1f %12s %8.2f %8s\n", "the same with four times the items", peak4 / 1024, "-", peak4 / peak, "1.0"
  printf "%-58s %12.0f %12s %8s %8s\n", "items/s whole, four times the items", 4 * items / whole4, "-", "-", "-"
}'
