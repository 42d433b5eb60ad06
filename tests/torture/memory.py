"""Clients that make the gateway hold memory: responses that are not read, headers of refused requests."""

import time
from concurrent.futures import ThreadPoolExecutor

import http2
from nginx import Nginx
from site_under_test import BRANDS, LIMIT_MB, SHORT, MemoryWatch, Probe, attackers

STREAMS = 100
PATH = "/randomitems?count=200"
# Closed connections that are replaced every 3 s: more would measure TLS handshakes.
REPLACED_A_ROUND = 50
KEPT_MB = 64
MEMORY_GOAL = f"≤ {LIMIT_MB} MB, alive"


class Crowd:
    """Many connections that send the same bytes first. `refused` counts failed attempts to connect, `lost` closed connections."""

    def __init__(self, site, brand, count, sources, values, first):
        self.site, self.brand, self.values, self.first = site, brand, values, first
        self.refused, self.lost = 0, 0
        self.open = self._connect([sources[number % len(sources)] for number in range(count)])

    def _connect(self, sources):
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(self._one, sources))
        self.refused += made.count(None)
        self.failed_sources = [source for source, connection in zip(sources, made) if connection is None]
        return [connection for connection in made if connection]

    def _one(self, source):
        try:
            connection = http2.Connection(self.site, self.brand, source, self.values)
        except OSError:
            return None
        connection.source = source
        connection.send(self.first)
        return connection

    def replace(self, limit):
        """Opens connections in place of closed and refused ones."""
        closed = [connection for connection in self.open if connection.closed]
        self.lost += len(closed)
        self.open = [connection for connection in self.open if not connection.closed]
        for connection in closed:
            connection.close()
        missing = self.failed_sources + [connection.source for connection in closed]
        self.open += self._connect(missing[:limit])
        self.failed_sources += missing[limit:]

    def close(self):
        for connection in self.open:
            connection.close()

    def text(self):
        return f"{self.refused} connection attempts refused, {self.lost} connections closed"


def unread_attack(site, brand, path, count, seconds):
    """Increments one stream's window by a byte every 3 s, reads nothing, replaces closed connections. Returns the open crowd."""
    first = b"".join(http2.request(1 + 2 * number, path) for number in range(STREAMS))
    crowd = Crowd(site, brand, count, attackers(50), {http2.INITIAL_WINDOW_SIZE: 0}, first)
    deadline = time.monotonic() + seconds
    while (started := time.monotonic()) < deadline:
        for number, connection in enumerate(crowd.open):
            connection.send(http2.window_update(1 + 2 * (number % STREAMS), 1))
        crowd.replace(REPLACED_A_ROUND)
        time.sleep(max(0, min(started + 3, deadline) - time.monotonic()))
    return crowd


def unread(site, table):
    """Responses that are not read, from 50 addresses: stream windows of 0, incremented by one byte every 3 s."""
    count, seconds = (60, 15) if SHORT else (500, 60)
    watch, probe = MemoryWatch(site), Probe(site)
    try:
        crowd = unread_attack(site, "dexar", PATH, count, seconds)
        probe.stop()
        crowd.close()
    finally:
        probe.kill()
    watch.stop()
    tried = f"{count} connections from 50 addresses, {STREAMS} × GET {PATH} each, nothing read for {seconds} s, windows dribbled"
    table.add("unread", tried, f"{watch.text()}; {crowd.text()}", MEMORY_GOAL, watch.is_held())
    for brand in BRANDS:
        what = "another client of the same brand" if brand == "dexar" else "a client of the other brand"
        table.add_probe("unread", f"the same: {what}", probe, [kind for kind in probe.kinds if kind.startswith(brand)])
    time.sleep(10)
    _add_memory_left(table, "unread", watch)
    _unread_nginx(site, table)


def _unread_nginx(site, table):
    """nginx has no limit on memory here, so it gets few connections."""
    count = 60
    _, body = site.get(site.urls["dexar"] + PATH)
    with Nginx(site, body) as nginx:
        before = nginx.memory_mb()
        crowd = unread_attack(nginx, "dexar", "/file", count, 5)
        after = nginx.memory_mb()
        crowd.close()
    tried = f"nginx: {count} such connections for a file of {len(body) // 1024} kB"
    table.add("unread", tried, f"{before:.0f} → {after:.0f} MB; {crowd.text()}")


def references(site, table):
    """Refused requests whose headers are 1,750 one-byte references to the HPACK table, with a withheld body."""
    count = 20 if SHORT else 80
    first = b"".join(_references(1 + 2 * number) for number in range(STREAMS))
    watch = MemoryWatch(site)
    crowd = Crowd(site, "dexar", count, attackers(1), None, first)
    for connection in crowd.open:
        connection.poll(0.02)
    time.sleep(3)
    sent_mb = len(first) * len(crowd.open) / 1e6
    crowd.close()
    time.sleep(10)
    watch.stop()
    tried = f"{count} connections, {STREAMS} × POST /nope each with 1,750 header references ({sent_mb:.1f} MB sent), body withheld"
    table.add("references", tried, f"{watch.text()}; {crowd.refused} connections refused", MEMORY_GOAL, watch.is_held())
    _add_memory_left(table, "references", watch)


def _add_memory_left(table, scenario, watch):
    left_mb, goal_mb = watch.now_mb(), watch.start_mb + KEPT_MB
    tried = "the same: memory 10 s after the connections are closed"
    held = left_mb <= goal_mb and not watch.deaths()
    table.add(scenario, tried, f"{left_mb:.0f} MB", f"≤ {goal_mb:.0f} MB (at rest + {KEPT_MB})", held)


def _references(stream):
    # 0x40: a literal `x: y` with incremental indexing, which becomes the newest entry of the dynamic table; 0xbe refers to it.
    entry = b"\x40\x01x\x01y" if stream == 1 else b""
    block = http2.header_block("/nope", "POST", [("content-type", "application/json")]) + entry + b"\xbe" * 1750
    return http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block)
