# shellcheck shell=bash disable=SC2154
# Generates shops of any size from the demonstration catalogue or from a table of products. Sourced by run.sh.

# Writes distinct items, each with a number after its name, to one file and their categories to another.
make_items() { # items file, categories file, number of items
  if [[ -n ${DATA:-} ]]; then
    make_items_from_table "$@"
    return
  fi
  grep -v '"itemID"' tests/data/demo/dexar/catalog.jsonl >"$2"
  grep '"itemID"' tests/data/demo/dexar/catalog.jsonl |
    awk -v items="$3" '
      # Records are split once at the places of the number, so that generating an item is cheap.
      {
        sub(/"name":"[^"\\]*/, "& \001")
        sub(/"itemID":[0-9]+/, "\"itemID\":\001"); sub(/"id":"item_[^"]*"/, "\"id\":\"item_\001\"")
        gsub(/"id":"cmt_/, "\"id\":\"cmt_\001_")
        part_count[NR] = split($0, cut, "\001")
        for (i = 1; i <= part_count[NR]; i++) part[NR, i] = cut[i]
      }
      END {
        for (n = 0; n < items; n++) {
          record = n % NR + 1; number = 1000000 + n
          printf "%s", part[record, 1]
          for (i = 2; i <= part_count[record]; i++) printf "%d%s", number, part[record, i]
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

empty_shop() {
  psql_admin -c 'set search_path = dexar' -c 'drop table if exists reference' \
    -c 'truncate item, item_region, review, question, question_vote, cart_line, item_stock, stock_count, stock_movement, import_source' -c 'checkpoint'
}

