# shellcheck shell=bash disable=SC2154
# Measures payments and cart writes while an import that changes every item is merged. Sourced by run.sh.

readonly DURING_ITEMS=${DURING_ITEMS:-100000}

log "importing a shop with $DURING_ITEMS items"
make_items "$work/items.jsonl" "$work/categories.jsonl" "$DURING_ITEMS"
# Every item is for sale, and has stock for all rounds and the price that the orders name.
sed -i 's/"visible":false/"visible":true/' "$work/items.jsonl" "$work/categories.jsonl"
sed -i -E 's/"price":[0-9.]+/"price":10/; s/"discount":[0-9.]+/"discount":0/; s/"(quantity|remainings)":[^,}]+/"\1":null/g; s/^\{/{"quantity":5000,/' "$work/items.jsonl"
empty_shop
"$BINARY" catalog import --brand dexar tests/data/demo/regions.jsonl "$work/categories.jsonl" >/dev/null
"$BINARY" catalog import --brand dexar "$work/items.jsonl" >/dev/null
psql_admin -c 'vacuum analyze' -c checkpoint
during_port=$(free_port) bank_port=$(free_port) admin_port=$(free_port)
mkdir -p "$work/during"
sed "s/127.0.0.1:0/127.0.0.1:$during_port/" "$work/brands/dexar.toml" >"$work/during/dexar.toml"
bank_key=$(python3 -c 'import base64
code = lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
print(code("{\"alg\":\"HS256\"}"), code("{\"sub\":\"MA0000001\"}"), code("bench" * 5), sep=".")')
printf '%s' "$bank_key" >"$work/credentials/dexar.bank-key"
chmod 0600 "$work/credentials/dexar.bank-key"
cat >>"$work/during/dexar.toml" <<TOML
[rates]
cart_writes_per_address = 1000000000
payments_per_address = 1000000000
[payments]
open_per_address = 1000000
[bank]
merchant_id = "MA0000001"
keys = ["dexar.bank-key"]
api_url = "http://127.0.0.1:$bank_port"
TOML
BRANDGATE_BRANDS=$work/during BRANDGATE_ADMIN=127.0.0.1:$admin_port "$BINARY" serve >"$work/during.log" 2>&1 &
during_pid=$!
BRANDGATE_BRANDS=$work/during python3 bench/during.py "$BINARY" "$work" "$during_port" "$bank_port" "$admin_port" "$ROUNDS" || {
  tail -5 "$work/during.log" >&2
  kill "$during_pid"
  exit 1
}
kill "$during_pid"
wait "$during_pid" || true
