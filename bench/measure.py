"""Measures brandgate and its references, round by round, and writes the table and the plot.

bench/speed.sh passes the servers and the test data in environment variables. Every round runs each contestant once, in
alternating order. A round in which other processes used much CPU is repeated, a limited number of times. CPU times are those of
the server's processes in /proc; they vary less than rates, because the load generators share the same cores.
"""

import json
import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

from table import absolute, log, plot, row, table

WORK = Path(os.environ["WORK"])
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = int(os.environ.get("SECONDS_A_RUN", "2"))
ONLY = [part for part in os.environ.get("ONLY", "").split(",") if part]
TICKS = os.sysconf("SC_CLK_TCK")
MAX_FOREIGN_CPU = 0.15
MAX_ROUNDS_FACTOR = 3
PREPARED_REQUESTS = 50_000


class Server:
    """A server process and its descendants."""

    def __init__(self, name, pid):
        self.name, self.pid = name, pid

    def pids(self):
        children = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                except (OSError, IndexError):
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        found, queue = [], [self.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            queue += children.get(pid, [])
        return found

    def cpu_s(self):
        total = 0
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
            # The CPU time of exited children: PostgreSQL has a process per connection.
            total += int(fields[13]) + int(fields[14])
        return total / TICKS

    def pss_bytes(self):
        total = 0
        for pid in self.pids():
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1)) * 1024
        return total


def busy_s():
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def children_s():
    times = os.times()
    return times.children_user + times.children_system


def run(command, **options):
    process = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if process.returncode != 0:
        sys.exit(f"bench: {' '.join(map(str, command))}\n{process.stdout}{process.stderr}")
    return process.stdout


# ---- load generators: requests per second and the 99th percentile in milliseconds --------------------------------------


def wrk(url, connections=64, script=None, headers=()):
    command = ["wrk", "-t2", f"-c{connections}", f"-d{SECONDS}s", "--latency"]
    command += ["-s", script] if script else []
    for header in headers:
        command += ["-H", header]
    text = run(command + [url], env={**os.environ, "SEED": str(secrets.randbelow(1 << 30))})
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if bad:
        sys.exit(f"bench: {url}: {bad.group(1)} responses were errors\n{text}")
    amount, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)), float(amount) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def h2load(url):
    text = run(["h2load", "-c16", "-m32", "-t2", f"-D{SECONDS}", url])
    if not re.search(r"0 failed, 0 errored", text):
        sys.exit(f"bench: {text}")
    return float(re.search(r"finished in [\d.]+s, ([\d.]+) req/s", text).group(1)), 0.0


def handshakes(address, path, how):
    text = run([os.environ["HANDSHAKES"], address, os.environ["CA"], path, how, str(SECONDS)])
    rate, p99, resumed, failed = text.split()
    if int(failed) or (how == "resumed") != (int(resumed) * 2 > float(rate) * SECONDS):
        sys.exit(f"bench: handshakes with {address}: {text}")
    return float(rate), float(p99)


def pgbench(script, clients=16):
    text = run(
        [os.environ["PG_BIN"] + "/pgbench", "-n", "-M", "prepared", f"-c{clients}", "-j2", f"-T{SECONDS}", "-f", script],
        env={**os.environ, **PG},
    )
    return float(re.search(r"tps = ([\d.]+)", text).group(1)), 0.0


def redis_benchmark(arguments):
    text = run(["redis-benchmark", "-s", os.environ["REDIS_SOCKET"], "-c", "16", "-n", "200000", "--csv", *arguments])
    rate, *rest = text.strip().split("\n")[-1].replace('"', "").rsplit(",", 7)[1:]
    return float(rate), float(rest[-2])


# ---- rounds ------------------------------------------------------------------------------------------------------------


def measure(contestants):
    """`contestants`: name → (server or None, load). Returns name → list of (rate, cpu_us, p99_ms), one per kept round."""
    kept, dropped = {name: [] for name in contestants}, []
    round_number = 0
    while len(next(iter(kept.values()))) < ROUNDS:
        names = list(contestants)
        if round_number % 2:
            names.reverse()
        found, disturbed = {}, 0.0
        for name in names:
            server, load = contestants[name]
            started, busy, own, ours = time.monotonic(), busy_s(), server.cpu_s() if server else 0, children_s()
            backends_before_s = [other.cpu_s() for other in BACKENDS]
            rate, p99_ms = load()
            elapsed_s = time.monotonic() - started
            server_s = server.cpu_s() - own if server else 0
            backends_s = sum(other.cpu_s() for other in BACKENDS) - sum(backends_before_s)
            others = (busy_s() - busy - server_s - backends_s - (children_s() - ours)) / elapsed_s
            found[name] = (rate, server_s / max(rate * SECONDS, 1) * 1e6, p99_ms)
            disturbed = max(disturbed, others)
        round_number += 1
        if disturbed > MAX_FOREIGN_CPU and round_number < ROUNDS * MAX_ROUNDS_FACTOR:
            dropped.append((disturbed, found))
            if round_number + ROUNDS - len(next(iter(kept.values()))) <= ROUNDS * MAX_ROUNDS_FACTOR:
                continue
        for name, results in found.items():
            kept[name].append(results)
    log(f"  {round_number} rounds, {len(dropped)} of them disturbed")
    return kept


def column(results, index):
    return [result[index] for result in results]


def rates(what, kept, ours, reference, goal):
    row(what, column(kept[ours], 0), column(kept[reference], 0), goal, unit="1/s")


def cpu(what, kept, ours, reference, goal):
    row(what, column(kept[ours], 1), column(kept[reference], 1), goal, at_least=False, unit="µs")


# ---- parts -------------------------------------------------------------------------------------------------------------

GATEWAY = Server("brandgate", int(os.environ["GATEWAY_PID"]))
COLD = Server("brandgate without cache", int(os.environ["COLD_PID"]))
NGINX = Server("nginx", int(os.environ["NGINX_PID"]))
FASTIFY = Server("fastify", int(os.environ["FASTIFY_PID"])) if os.environ.get("FASTIFY_PID") else None
POSTGRES, REDIS = Server("postgres", int(os.environ["POSTGRES_PID"])), Server("redis", int(os.environ["REDIS_PID"]))
BACKENDS = [POSTGRES, REDIS]
PG = {"PGHOST": os.environ["PG_HOST"], "PGPORT": os.environ["PG_PORT"], "PGDATABASE": "brandgate", "PGUSER": "dexar", "PGPASSWORD": "bench"}
ADDRESS = {GATEWAY: os.environ["GATEWAY"], COLD: os.environ["COLD"], NGINX: os.environ["NGINX"], FASTIFY: os.environ.get("FASTIFY")}
ITEM, PAGE = os.environ["ITEM_PATH"], os.environ["PAGE_PATH"]
ITEMS, CATEGORY = int(os.environ["ITEMS"]), os.environ["CATEGORY"]


def url(server, path):
    return f"https://{ADDRESS[server]}{path}"


def hot():
    kept = measure({"ours": (GATEWAY, lambda: wrk(url(GATEWAY, ITEM))), "nginx": (NGINX, lambda: wrk(url(NGINX, ITEM)))})
    rates("hot item, HTTP/1.1: rate ÷ nginx", kept, "ours", "nginx", 1.10)
    cpu("the same: CPU per request ÷ nginx", kept, "ours", "nginx", 0.82)
    row("the same: 99th percentile ÷ nginx", column(kept["ours"], 2), column(kept["nginx"], 2), 0.4, at_least=False, unit="ms")


def h2():
    kept = measure({"ours": (GATEWAY, lambda: h2load(url(GATEWAY, ITEM))), "nginx": (NGINX, lambda: h2load(url(NGINX, ITEM)))})
    rates("hot item, HTTP/2: rate ÷ nginx", kept, "ours", "nginx", 1.10)
    cpu("the same: CPU per request ÷ nginx", kept, "ours", "nginx", 0.97)


def category():
    brotli = ["Accept-Encoding: br"]
    kept = measure(
        {
            "ours": (GATEWAY, lambda: wrk(url(GATEWAY, PAGE), 32, headers=brotli)),
            "nginx": (NGINX, lambda: wrk(url(NGINX, "/page"), 32, headers=brotli)),
            "plain": (NGINX, lambda: wrk(url(NGINX, "/page"), 32)),
        }
    )
    rates("category page of 50 items, brotli: rate ÷ nginx brotli_static", kept, "ours", "nginx", 1.05)
    rates("the same ÷ nginx sending it plain", kept, "ours", "plain", None)


def handshake():
    for how, goal in (("full", 1.6), ("resumed", 1.4)):
        kept = measure(
            {
                "ours": (GATEWAY, lambda: handshakes(ADDRESS[GATEWAY], ITEM, how)),
                "nginx": (NGINX, lambda: handshakes(ADDRESS[NGINX], ITEM, how)),
            }
        )
        rates(f"new TLS 1.3 connection and a request, {how}: rate ÷ nginx", kept, "ours", "nginx", goal)
        cpu("the same: CPU per connection ÷ nginx", kept, "ours", "nginx", None)


def statement(file, function, values):
    """The SQL of a function of the gateway, verbatim, with values in place of its parameters."""
    source = Path(file).read_text()
    body = source[re.search(rf"fn {function}\(", source).start():]
    in_file = re.search(r'include_str!\("(.*?)"\)', body)
    in_place = re.search(r'\n\s+r?#?"(.*?)"#?,\n', body, re.S)
    if in_file and (in_place is None or in_file.start() < in_place.start()):
        text = Path(file).with_name(in_file.group(1)).read_text()
    else:
        text = re.sub(r"\\\n", "\n", in_place.group(1)).replace('\\"', '"')
    text = re.sub(r"^\s*--.*$", "", text, flags=re.M)
    text = re.sub(r"\s*\n\s*", " ", text).strip()
    for number, value in sorted(values.items(), reverse=True):
        text = text.replace(f"${number}", value)
    return text


def script(name, text):
    path = WORK / name
    path.write_text(text)
    return str(path)


def lua(body, words="/dev/null"):
    """A wrk script that sends random requests. `body` defines `one()`, which builds a request with `some()`, a line of `words`.

    Requests are built in advance, because building them during the measurement would take CPU from the server.
    """
    return script(
        f"load-{abs(hash(body))}.lua",
        "local seed = tonumber(os.getenv('SEED')) local threads = 0\n"
        "function setup(thread) threads = threads + 1 thread:set('number', threads) end\n"
        "local words, requests = {}, {}\n"
        "local function some() return words[math.random(1, #words)] end\n"
        f"{body}\n"
        "function init()\n"
        f"  math.randomseed(seed + number) for word in io.lines('{words}') do words[#words + 1] = word end\n"
        f"  for n = 1, {PREPARED_REQUESTS} do requests[n] = one() end\n"
        "end\n"
        f"function request() return requests[math.random(1, {PREPARED_REQUESTS})] end\n",
    )


def cold():
    by_number = lua("local function one() return wrk.format('GET', '/item/' .. some()) end", os.environ["IDS"])
    select = statement("src/catalog/store.rs", "item", {1: ":id", 2: "null::text", 3: "null::text"})
    sql = script("item.sql", f"\\set id random({FIRST}, {FIRST + ITEMS - 1})\n{select};\n")
    contestants = {"ours": (COLD, lambda: wrk(url(COLD, ""), script=by_number)), "pgbench": (None, lambda: pgbench(sql))}
    if FASTIFY:
        contestants["fastify"] = (FASTIFY, lambda: wrk(url(FASTIFY, ""), script=by_number))
    kept = measure(contestants)
    rates("item, not cached: rate ÷ pgbench of the same select", kept, "ours", "pgbench", 0.60)
    rates_fastify("the same ÷ Fastify, one process", kept, 2.8)


def rates_fastify(what, kept, goal):
    if FASTIFY:
        rates(what, kept, "ours", "fastify", goal)


def cart():
    posting = lua(
        "local digits = '0123456789abcdef' local cookies = {}\n"
        "local function cookie() local t = {} for i = 1, 64 do local d = math.random(1, 16) t[i] = digits:sub(d, d) end\n"
        "  return '__Host-dexar_visitor=' .. table.concat(t) end\n"
        "local function one()\n"
        "  if #cookies < 2000 then cookies[#cookies + 1] = cookie() end\n"
        "  return wrk.format('POST', '/cart', {['Content-Type'] = 'application/json', ['Cookie'] = cookies[math.random(1, #cookies)]},\n"
        "    '{\"itemID\":' .. some() .. ',\"quantity\":1}') end",
        os.environ["IDS"],
    )
    insert = statement("src/cart/store.rs", "add", {1: "('pgbench ' || :owner::text)", 2: ":id::bigint", 3: "1", 4: "now()", 5: "999"})
    sql = script("cart.sql", f"\\set id random({FIRST}, {FIRST + ITEMS - 1})\n\\set owner random(1, 4000)\n{insert};\n")
    contestants = {"ours": (COLD, lambda: wrk(url(COLD, ""), script=posting)), "pgbench": (None, lambda: pgbench(sql))}
    if FASTIFY:
        contestants["fastify"] = (FASTIFY, lambda: wrk(url(FASTIFY, ""), script=posting))
    kept = measure(contestants)
    rates("POST /cart: rate ÷ pgbench of the same statement", kept, "ours", "pgbench", 0.70)
    rates_fastify("the same ÷ Fastify", kept, 1.9)


def session():
    # A returning browser sends both cookies.
    cookie = [f"Cookie: __Host-dexar_session={os.environ['SESSION_SECRET']}; __Host-dexar_visitor={secrets.token_hex(32)}"]
    now_ms = str(int(time.time() * 1000))
    command = ["evalsha", os.environ["CHECK_SHA"], "1", os.environ["SESSION_KEY"], now_ms, "72000000", "14400000"]
    contestants = {
        "ours": (COLD, lambda: wrk(url(COLD, "/auth/session"), headers=cookie)),
        "redis": (None, lambda: redis_benchmark(command)),
    }
    if FASTIFY:
        contestants["fastify"] = (FASTIFY, lambda: wrk(url(FASTIFY, "/auth/session"), headers=cookie))
    kept = measure(contestants)
    rates("GET /auth/session: rate ÷ redis-benchmark of the same script", kept, "ours", "redis", 0.50)
    rates_fastify("the same ÷ Fastify", kept, 1.8)


def lists():
    if not FASTIFY:
        return
    # Requests differ, because concurrent equal requests would be coalesced.
    pages = lua(f"local function one() return wrk.format('GET', '/category/{CATEGORY}?count=50&skip=' .. math.random(0, 900)) end")
    searches = lua("local function one() return wrk.format('GET', some()) end", os.environ["SEARCHES"])
    for what, asking in (("category page of 50", pages), ("search for a product", searches)):
        kept = measure(
            {
                "ours": (COLD, lambda: wrk(url(COLD, ""), 16, script=asking)),
                "fastify": (FASTIFY, lambda: wrk(url(FASTIFY, ""), 16, script=asking)),
            }
        )
        rates(f"{what}, not cached: rate ÷ Fastify with the same statement", kept, "ours", "fastify", 1.5)


def idle():
    ours, reference = [], []
    for server, values in ((GATEWAY, ours), (NGINX, reference)):
        before = server.pss_bytes()
        client = subprocess.Popen(
            [os.environ["HANDSHAKES"], ADDRESS[server], os.environ["CA"], ITEM, "idle", "2000"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        if client.stdout.readline() != "open\n":
            sys.exit("bench: failed to open 2,000 connections")
        time.sleep(1)
        values.append((server.pss_bytes() - before) / 2000)
        client.stdin.close()
        client.wait()
    row("memory per idle TLS connection ÷ nginx", ours, reference, 1.3, at_least=False, unit="B")


def growth():
    """Adds the results of growth.sh, if there are any."""
    if (WORK / "growth.more").exists():
        fewer, more = (json.loads((WORK / name).read_text()) for name in ("growth.fewer", "growth.more"))
        for what in fewer:
            row(f"growth, 1,000,000 items ÷ 10,000, median latency: {what}", [more[what]], [fewer[what]], 2, at_least=False, unit="ms")


def during():
    """Adds the results of during.py, if there are any."""
    if (WORK / "during.json").exists():
        for kind, pairs in json.loads((WORK / "during.json").read_text()).items():
            what = f"{kind} during an import of 100,000 changed items ÷ without one: 99th percentile"
            row(what, [busy for busy, _ in pairs], [rest for _, rest in pairs], 3, at_least=False, unit="ms")


def start():
    """Adds the results of start.py, if there are any."""
    if (WORK / "start.json").exists():
        results = json.loads((WORK / "start.json").read_text())
        absolute("start, from exec to a response of both brands", results["start_ms"], 100, "ms")
        absolute("idle gateway, both brands, nothing cached", results["idle_mb"], 35, "MB PSS")


PARTS = {"hot": hot, "h2": h2, "category": category, "handshakes": handshake, "idle": idle, "cold": cold, "cart": cart, "session": session, "lists": lists}
FIRST = int(os.environ.get("FIRST_ITEM", "1000000"))


for name, part in PARTS.items():
    if not ONLY or name in ONLY:
        log(f"{name}:")
        part()
growth()
during()
start()
processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()).group(1)
text = f"{time.strftime('%Y-%m-%d')}, {processor}, {os.cpu_count()} cores, {ROUNDS} rounds of {SECONDS} s\n\n{table()}\n"
(WORK / "results.md").write_text(text)
(WORK / "results.svg").write_text(plot() + "\n")
print(text)
