# shellcheck shell=bash disable=SC2154
# import.sh: an import of many items against \copy of the same rows and CREATE INDEX. Sourced by run.sh.

# Writes so many different items to a file, and their categories to another.
make_items() { # items file, categories file, how many
  if [[ -n ${DATA:-} ]]; then
    make_items_from_table "$@"
    return
  fi
  grep -v '"itemID"' tests/data/demo/dexar/catalog.jsonl >"$2"
  grep '"itemID"' tests/data/demo/dexar/catalog.jsonl |
    awk -v items="$3" '
      # Each record is cut once where a number belongs; putting the pieces together is cheap.
      {
        sub(/"itemID":[0-9]+/, "\"itemID\":\001"); sub(/"id":"item_[^"]*"/, "\"id\":\"item_\001\"")
        gsub(/"id":"cmt_/, "\"id\":\"cmt_\001_")
        pieces[NR] = split($0, cut, "\001")
        for (i = 1; i <= pieces[NR]; i++) piece[NR, i] = cut[i]
      }
      END {
        for (n = 0; n < items; n++) {
          record = n % NR + 1; number = 1000000 + n
          printf "%s", piece[record, 1]
          for (i = 2; i <= pieces[record]; i++) printf "%d%s", number, piece[record, i]
          print ""
        }
      }' >"$1"
}

make_items_from_table() {
  local reader=(cat)
  [[ $DATA == *.xz ]] && reader=(xz -dc)
  "${reader[@]}" "$DATA" | awk -F '\t' -v items="$3" -v categories="$2" '
    function quoted(text) { gsub(/\\/, "\\\\", text); gsub(/"/, "\\\"", text); gsub(/[\001-\037]/, " ", text); return "\"" text "\"" }
    NR == 1 { next }
    NR - 1 > items { exit }
    !($5 in seen) {
      seen[$5] = 1; n = split($6, path, "/")
      print "{\"categoryID\":" $5 ",\"parentID\":0,\"name\":" quoted(path[n] == "" ? $6 : path[n]) "}" > categories
    }
    {
      print "{\"itemID\":" $2 ",\"categoryID\":" $5 ",\"name\":" quoted($4) ",\"price\":" (NR % 9000) + 0.5 \
            ",\"quantity\":" NR % 80 ",\"descriptionFields\":[{\"key\":\"Бренд\",\"value\":" quoted($8) "}]}"
    }' >"$1"
}

readonly ITEM_COLUMNS="item_id, id, category_id, subcategory_id, name, simple_description, description, description_fields,
  currency, price, discount, quantity, remainings, rating, visible, priority, tags, badges, photos, questions, translations"

seconds_of() { # a command: its wall time in seconds
  local begun=$EPOCHREALTIME
  "$@" >/dev/null
  awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }'
}

# The rival: the very same rows, exported once, into a table without indexes, then every index of `item`, then ANALYZE.
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

empty_shop() {
  psql_admin -c 'set search_path = dexar' -c 'drop table if exists rival' \
    -c 'truncate item, item_region, review, cart_line' -c 'checkpoint'
}

median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# Imports a file; prints: whole seconds, staging seconds, peak memory in kB.
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

say "making $ITEMS items, and four times as many to see whether memory grows"
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
