# shellcheck shell=bash disable=SC2154
# Compares an import of many items with \copy of the same rows and CREATE INDEX. Sourced by run.sh.

readonly ITEM_COLUMNS="item_id, id, category_id, subcategory_id, name, simple_description, description, description_fields,
  currency, price, discount, rating, visible, priority, tags, badges, photos, questions, translations"

seconds_of() { # command; prints its wall time in seconds
  local started=$EPOCHREALTIME
  "$@" >/dev/null
  awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }'
}

# The reference: the same rows, exported once, copied into a table without indexes, then all indexes of `item`, then ANALYZE.
reference_copy() {
  psql_admin -c 'set search_path = dexar' -c 'drop table if exists reference' \
    -c 'create table reference (like item including defaults including generated including constraints)' \
    -c "\\copy reference (${ITEM_COLUMNS//$'\n'/ }) from '$work/rows.copy'" \
    -c 'alter table reference add primary key (item_id), add unique (id)' \
    -c 'create index on reference (node_id, priority desc, item_id) where visible' \
    -c 'create index on reference (category_id)' \
    -c 'create index on reference (subcategory_id) where subcategory_id is not null' \
    -c 'create index on reference using gin (search)' \
    -c 'analyze reference'
}

median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# Imports a file; prints total seconds, staging seconds and peak memory in kB.
import_once() {
  local started=$EPOCHREALTIME staging_s peak=0 rss pid
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
  staging_s=$(grep -o 'staged in [0-9.]*' "$work/import.out" | grep -o '[0-9.]*$')
  awk -v a="$started" -v b="$EPOCHREALTIME" -v s="$staging_s" -v p="$peak" 'BEGIN { printf "%.2f %s %d\n", b - a, s, p }'
}

log "generating $ITEMS items, and four times as many to compare memory"
make_items "$work/items.jsonl" "$work/categories.jsonl" "$ITEMS"
make_items "$work/items4.jsonl" "$work/categories4.jsonl" $((ITEMS * 4))
"$BINARY" catalog import --brand dexar tests/data/demo/regions.jsonl "$work/categories.jsonl" >/dev/null
: >"$work/imports"
: >"$work/reference"
for ((round = 1; round <= ROUNDS; round++)); do
  log "import, round $round of $ROUNDS"
  empty_shop
  import_once "$work/items.jsonl" >>"$work/imports"
  if [[ ! -s $work/rows.copy ]]; then
    psql_admin -c 'set search_path = dexar' -c "\\copy (select ${ITEM_COLUMNS//$'\n'/ } from item) to '$work/rows.copy'"
  fi
  empty_shop
  seconds_of reference_copy >>"$work/reference"
  printf '\n' >>"$work/reference"
done
empty_shop
log "four times the items"
read -r total4 _ peak4 < <(import_once "$work/items4.jsonl")
total=$(cut -d' ' -f1 "$work/imports" | median)
staging=$(cut -d' ' -f2 "$work/imports" | median)
peak=$(cut -d' ' -f3 "$work/imports" | median)
reference=$(median <"$work/reference")
awk -v items="$ITEMS" -v total="$total" -v staging="$staging" -v peak="$peak" -v reference="$reference" -v total4="$total4" -v peak4="$peak4" 'BEGIN {
  printf "\n%-58s %12s %12s %8s %8s\n", "import of " items " items", "brandgate", "reference", "ratio", "goal"
  printf "%-58s %12.0f %12s %8s %8s\n", "items/s into staging", items / staging, "-", "-", "20000"
  printf "%-58s %12.0f %12.0f %8.2f %8s\n", "items/s total (reference: \\copy, same indexes, ANALYZE)", items / total, items / reference, reference / total, "0.70"
  printf "%-58s %12.1f %12s %8s %8s\n", "peak memory of the importer, MB", peak / 1024, "-", "-", "-"
  printf "%-58s %12.1f %12s %8.2f %8s\n", "the same, four times the items", peak4 / 1024, "-", peak4 / peak, "1.0"
  printf "%-58s %12.0f %12s %8s %8s\n", "items/s total, four times the items", 4 * items / total4, "-", "-", "-"
}'
