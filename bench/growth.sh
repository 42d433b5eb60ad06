# shellcheck shell=bash disable=SC2154
# Compares the latency of database reads in a shop and in one with a hundred times as many items. Sourced by run.sh.
#
# Items have names of the demonstration catalogue with a model number, and are spread over its food categories. The cache is off.

readonly FEWER=${FEWER:-10000} MORE=${MORE:-1000000}

make_models() { # items file, number of items
  # Food only, so that one category contains all items.
  grep -E '"categoryID":1[1-8][0-9]?,"name"' tests/data/demo/dexar/catalog.jsonl |
    sed -n 's/.*"categoryID":\([0-9]*\),"name":"\([^"\\]*\)".*/\1\t\2/p' |
    awk -F '\t' -v items="$2" '
    { category[NR] = $1; name[NR] = $2 }
    END {
      for (n = 0; n < items; n++) {
        kind = n % NR + 1
        printf "{\"itemID\":%d,\"categoryID\":%s,\"name\":\"%s M%d\",\"price\":%d,\"quantity\":%d,\"priority\":%d,\"descriptionFields\":[{\"key\":\"Модель\",\"value\":\"M%d\"}]}\n", \
          1000000 + n, category[kind], name[kind], n, n % 9000 + 1, n % 80, n % 100, n
      }
    }' >"$1"
}

measure_shop() { # number of items, results file
  log "growth: a shop with $1 items"
  empty_shop
  make_models "$work/models.jsonl" "$1"
  "$BINARY" catalog import --brand dexar "$work/models.jsonl" >/dev/null
  # An open snapshot keeps vacuum from marking pages all-visible, and index-only scans would then read the table.
  until [[ $(psql_admin -c "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()") == 0 ]]; do sleep 0.1; done
  psql_admin -c 'vacuum analyze' -c checkpoint
  local port pid
  port=$(free_port)
  mkdir -p "$work/growth"
  brand_file dexar "127.0.0.1:$port" >"$work/growth/dexar.toml"
  printf '[cache]\nmebibytes = 0\n' >>"$work/growth/dexar.toml"
  BRANDGATE_BRANDS=$work/growth BRANDGATE_ADMIN=127.0.0.1:0 "$BINARY" serve &
  pid=$!
  python3 bench/growth.py "$port" "$work/certs/ca.pem" "$1" 1 >"$2"
  kill "$pid"
  wait "$pid" || true
  rm "$work/models.jsonl"
}

make_items "$work/items.jsonl" "$work/categories.jsonl" 1
"$BINARY" catalog import --brand dexar tests/data/demo/regions.jsonl "$work/categories.jsonl" >/dev/null
measure_shop "$FEWER" "$work/growth.fewer"
measure_shop "$MORE" "$work/growth.more"
empty_shop
python3 - "$work/growth.fewer" "$work/growth.more" <<'PYTHON'
import json, sys
fewer, more = (json.load(open(path)) for path in sys.argv[1:])
for name in fewer:
    print(f"{name}: {fewer[name]:.2f} ms, with a hundred times the items {more[name]:.2f} ms: {more[name] / fewer[name]:.2f}, goal 2", file=sys.stderr)
PYTHON
