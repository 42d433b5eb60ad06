# shellcheck shell=bash disable=SC2154
# Starts brandgate, nginx and Fastify with a shop of 100,000 items and measures them with measure.py. Sourced by run.sh.
#
# Two gateways run, one of them without a cache. All servers use the same certificate, and nginx serves the bytes and headers of a
# response of the gateway.

readonly SHOP_ITEMS=${SHOP_ITEMS:-100000}
companions=()

await_port() { # port, name
  local tries
  for ((tries = 0; tries < 400; tries++)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
    sleep 0.05
  done
  log "failed to connect to $2 on port $1"
  exit 1
}

start_gateway() { # brands directory, port, admin port
  BRANDGATE_BRANDS=$1 BRANDGATE_ADMIN=127.0.0.1:$3 "$BINARY" serve >"$1.log" 2>&1 &
  started=$!
  companions+=("$started")
  await_port "$2" "the gateway"
  until curl -sf "http://127.0.0.1:$3/readyz" >/dev/null; do sleep 0.1; done
}

# Prints response headers as nginx directives, except those that nginx sets itself.
headers_for_nginx() { # file with the response head
  tr -d '\r' <"$1" | sed -n 's/^\([A-Za-z-]*\): \(.*\)$/\1\t\2/p' | grep -Eiv '^(content-length|content-type|content-encoding|date|etag)' |
    while IFS=$'\t' read -r name value; do printf 'add_header %s "%s" always;\n' "$name" "${value//\"/\\\"}"; done
}

start_nginx() { # port
  local www=$work/www
  mkdir -p "$www" "$work/nginx"
  local fetch=(curl -s --cacert "$work/certs/ca.pem") origin=https://localhost:$gateway_port
  "${fetch[@]}" "$origin$ITEM_PATH" -D "$work/item.head" -o "$www/item"
  "${fetch[@]}" "$origin$PAGE_PATH" -o "$www/page"
  "${fetch[@]}" "$origin$PAGE_PATH" -H 'Accept-Encoding: br' -o "$www/page.br"
  log "item: $(stat -c %s "$www/item") bytes, page: $(stat -c %s "$www/page") bytes, with brotli $(stat -c %s "$www/page.br") bytes"
  headers_for_nginx "$work/item.head" >"$work/nginx/headers.conf"
  chmod -R a+rX "$www"
  cat >"$work/nginx/nginx.conf" <<NGINX
load_module /usr/lib/nginx/modules/ngx_http_brotli_static_module.so;
worker_processes 2;
pid $work/nginx/pid;
error_log $work/nginx/error.log;
daemon off;
$( ((EUID == 0)) && echo 'user www-data;')
events { worker_connections 8192; }
http {
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; server_tokens off;
  keepalive_requests 100000000; http2_max_requests 100000000; http2_max_concurrent_streams 128;
  open_file_cache max=1000 inactive=600s; open_file_cache_valid 600s;
  ssl_certificate $work/certs/dexar.pem; ssl_certificate_key $work/certs/dexar.key;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:SSL:20m; ssl_session_tickets on; ssl_ecdh_curve X25519;
  client_body_temp_path $work/nginx; proxy_temp_path $work/nginx; fastcgi_temp_path $work/nginx;
  uwsgi_temp_path $work/nginx; scgi_temp_path $work/nginx;
  default_type "application/json; charset=utf-8";
  include $work/nginx/headers.conf;
  server {
    listen 127.0.0.1:$1 ssl http2 backlog=4096;
    root $www;
    location = $ITEM_PATH { alias $www/item; }
    location = /page { brotli_static on; }
  }
}
NGINX
  /usr/sbin/nginx -c "$work/nginx/nginx.conf" 2>"$work/nginx/stderr.log" &
  nginx_pid=$!
  companions+=("$nginx_pid")
  await_port "$1" nginx
}

start_fastify() { # port
  mkdir -p .dev/bench
  rm -rf .dev/bench/fastify
  cp -r bench/fastify .dev/bench/fastify
  (cd .dev/bench/fastify && npm ci --no-audit --no-fund --loglevel=error >&2)
  NODE_ENV=production PORT=$1 CERTIFICATE=$work/certs/dexar.pem KEY=$work/certs/dexar.key PG_HOST=$PG_HOST PG_PORT=$PG_PORT \
    REDIS_SOCKET=$redis_socket SOURCES=$PWD/src node .dev/bench/fastify/server.mjs >"$work/fastify.log" 2>&1 &
  fastify_pid=$!
  companions+=("$fastify_pid")
  await_port "$1" Fastify
}

stop_companions() {
  local pid
  for pid in "${companions[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${companions[@]}"; do wait "$pid" 2>/dev/null || true; done
  companions=()
}

log "importing a shop with $SHOP_ITEMS items"
empty_shop
make_items "$work/items.jsonl" "$work/categories.jsonl" "$SHOP_ITEMS"
"$BINARY" catalog import --brand dexar tests/data/demo/regions.jsonl "$work/categories.jsonl" >/dev/null
"$BINARY" catalog import --brand dexar "$work/items.jsonl" >/dev/null
psql_admin -c 'vacuum analyze' -c checkpoint
redis_socket=${REDIS_URL#unix://}
gateway_port=$(free_port) cold_port=$(free_port) nginx_port=$(free_port) fastify_port=$(free_port)
for kind in gateway cold; do
  port=${kind}_port
  mkdir -p "$work/$kind"
  sed "s/127.0.0.1:0/127.0.0.1:${!port}/" "$work/brands/dexar.toml" >"$work/$kind/dexar.toml"
  cat >>"$work/$kind/dexar.toml" <<'TOML'
[limits]
connections_per_address = 10000
requests_per_address = 2000
[rates]
cart_writes_per_address = 1000000000
cart_writes_per_visitor = 1000000000
TOML
done
printf '[cache]\nmebibytes = 0\n' >>"$work/cold/dexar.toml"
start_gateway "$work/gateway" "$gateway_port" "$(free_port)"
gateway_pid=$started
start_gateway "$work/cold" "$cold_port" "$(free_port)"
cold_pid=$started
CATEGORY=$(psql_admin -c 'select node_id from dexar.item group by 1 order by count(*) desc limit 1')
ITEM_PATH=/item/$(psql_admin -c "select item_id from dexar.item order by abs(length(description) + length(photos::text) + length(questions::text) - 600), 1 limit 1")
# Items that are visible and in stock.
psql_admin -c "select item_id from dexar.listed_item left join dexar.item_stock s using (item_id) where coalesce(s.quantity, 99) > 20" >"$work/ids"
PAGE_PATH="/category/$CATEGORY?count=50"
psql_admin -c "select name from dexar.listed_item order by random() limit 5000" |
  python3 -c 'import sys, urllib.parse; [print("/searchitems?search=" + urllib.parse.quote(name.strip()) + "&count=50") for name in sys.stdin]' >"$work/searches"
start_nginx "$nginx_port"
fastify_pid=''
case ",${ONLY:-cold,cart,session,lists}," in
  *,cold,* | *,cart,* | *,session,* | *,lists,*) start_fastify "$fastify_port" ;;
esac

secret=$(head -c 32 /dev/urandom | sha256sum | cut -c1-64)
SESSION_KEY="dexar:{$(printf %s "$secret" | sha256sum | cut -c1-64)}:session"
now_ms=$(date +%s%3N)
redis-cli -s "$redis_socket" hset "$SESSION_KEY" id sess_bench user \
  '{"id":1,"username":null,"display_name":"Bench"}' expires_ms $((now_ms + 72000000)) ends_ms $((now_ms + 2592000000)) >/dev/null
# The first request makes the gateway load its script, which EVALSHA finds by its hash.
curl -s --cacert "$work/certs/ca.pem" "https://localhost:$cold_port/auth/session" -b "__Host-dexar_session=$secret" >"$work/session.json"
grep -q '"active":true' "$work/session.json" || {
  log "failed to create a session: $(cat "$work/session.json")"
  exit 1
}
CHECK_SHA=$(
  sha1sum src/session/check.lua | cut -d ' ' -f 1
)
log "measuring"
env WORK="$work" IDS="$work/ids" CA="$work/certs/ca.pem" HANDSHAKES="$HANDSHAKES" PG_BIN="$PG_BIN" PG_HOST="$PG_HOST" PG_PORT="$PG_PORT" \
  REDIS_SOCKET="$redis_socket" GATEWAY_PID="$gateway_pid" COLD_PID="$cold_pid" NGINX_PID="$nginx_pid" FASTIFY_PID="$fastify_pid" \
  POSTGRES_PID="$(head -1 "$PG_DATA/postmaster.pid")" REDIS_PID="$(redis-cli -s "$redis_socket" info server | tr -d '\r' | sed -n 's/^process_id://p')" \
  GATEWAY="127.0.0.1:$gateway_port" COLD="127.0.0.1:$cold_port" NGINX="127.0.0.1:$nginx_port" FASTIFY="127.0.0.1:$fastify_port" \
  ITEM_PATH="$ITEM_PATH" PAGE_PATH="$PAGE_PATH" SEARCHES="$work/searches" CATEGORY="$CATEGORY" ITEMS="$SHOP_ITEMS" \
  SESSION_SECRET="$secret" SESSION_KEY="$SESSION_KEY" CHECK_SHA="$CHECK_SHA" python3 bench/measure.py
mkdir -p .dev/bench
cp "$work/results.md" "$work/results.svg" .dev/bench/
if [[ -n ${SAVE:-} ]]; then cp .dev/bench/results.md .dev/bench/results.svg bench/; fi
