"""Clients that say nothing, too little or too slowly, and clients that read nothing or too slowly."""

import csv
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import http2
from http2 import PREFACE, frame, header_block, request, settings, window_update
from nginx import Nginx
from site_under_test import PROBE_ADDRESS, SHORT, CannotRun, MemoryWatch, Probe, say

# Seconds; the defaults of the brand file unless SHORT.
HANDSHAKE_S, HEAD_S, IDLE_S, REQUEST_S = (2, 2, 6, 4) if SHORT else (10, 10, 60, 15)
# A response may be in preparation for REQUEST_S before it counts as unread.
UNREAD_S = REQUEST_S + IDLE_S
# A stream that is read more slowly than the minimum rate: the rate is averaged over 30 s.
RATE_S = max(UNREAD_S, 30)
GRACE_S = 2

GET = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = "/randomitems?count=200"
# Responses of about half a megabyte each: enough to fill the socket's buffers, without keeping the machine busy.
MANY = 10
CART = b"POST /cart HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
START = PREFACE + settings()
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 501
JSON = [("content-type", "application/json")]
CART_HEADERS = frame(http2.HEADERS, http2.END_HEADERS, 1, header_block("/cart", "POST", JSON))
OPEN_HEADERS = frame(http2.HEADERS, http2.END_STREAM, 3, b"\x82")
NO_WINDOW = PREFACE + settings({http2.INITIAL_WINDOW_SIZE: 0})


def repeat(data):
    return lambda number: data


def bytes_of(data):
    return lambda number: data[number : number + 1]


# Name, ALPN protocol (None: plain TCP), what is sent at once, what is sent every second, the limit in seconds.
KINDS = [
    ("TCP: silent", None, b"", None, HANDSHAKE_S),
    ("TCP: half of a ClientHello", None, HELLO[:100], None, HANDSHAKE_S),
    ("TCP: a byte of a ClientHello every second", None, b"", bytes_of(HELLO), HANDSHAKE_S),
    ("TCP: the header of a TLS record", None, HELLO[:5], None, HANDSHAKE_S),
    ("TLS without ALPN: silent", "", b"", None, HEAD_S),
    ("HTTP/1.1: silent", "http/1.1", b"", None, HEAD_S),
    ("HTTP/1.1: half of a request line", "http/1.1", b"GET /pi", None, HEAD_S),
    ("HTTP/1.1: a request line only", "http/1.1", b"GET /ping HTTP/1.1\r\n", None, HEAD_S),
    ("HTTP/1.1: headers without their end", "http/1.1", GET[:-2], None, HEAD_S),
    ("HTTP/1.1: a header field every second", "http/1.1", GET[:-2], lambda number: b"X-%d: 1\r\n" % number, HEAD_S),
    ("HTTP/1.1: a byte of a header every second", "http/1.1", GET[:-2] + b"X: ", repeat(b"a"), HEAD_S),
    ("HTTP/1.1: empty lines instead of a request", "http/1.1", b"", repeat(b"\r\n"), HEAD_S),
    ("HTTP/1.1: idle after a request", "http/1.1", GET, None, IDLE_S),
    ("HTTP/1.1: half of a second request line", "http/1.1", GET + b"GET /pi", None, IDLE_S),
    ("HTTP/1.1: empty lines after a request", "http/1.1", GET, repeat(b"\r\n"), IDLE_S),
    ("HTTP/1.1: body withheld", "http/1.1", CART + b"Content-Length: 1000\r\n\r\n", None, REQUEST_S),
    ("HTTP/1.1: a byte of a body every second", "http/1.1", CART + b"Content-Length: 1000\r\n\r\n", repeat(b" "), REQUEST_S),
    ("HTTP/1.1: half of a chunk size", "http/1.1", CART + b"Transfer-Encoding: chunked\r\n\r\n1", None, REQUEST_S),
    ("HTTP/1.1: a chunk of a byte every second", "http/1.1", CART + b"Transfer-Encoding: chunked\r\n\r\n", repeat(b"1\r\n \r\n"), REQUEST_S),
    ("HTTP/1.1: body withheld after Expect: 100-continue", "http/1.1", CART + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n", None, REQUEST_S),
    (
        "HTTP/1.1: a refused request's body, a byte every second",
        "http/1.1",
        b"POST /nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
        repeat(b" "),
        REQUEST_S,
    ),
    ("HTTP/2: no preface", "h2", b"", None, HEAD_S),
    ("HTTP/2: half of the preface", "h2", PREFACE[:10], None, HEAD_S),
    ("HTTP/2: a byte of the preface every second", "h2", b"", bytes_of(PREFACE), HEAD_S),
    ("HTTP/2: preface only", "h2", PREFACE, None, HEAD_S),
    ("HTTP/2: preface and SETTINGS", "h2", START, None, HEAD_S),
    ("HTTP/2: half of a frame header", "h2", START + b"\0\0\5", None, HEAD_S),
    ("HTTP/2: PING every second, no request", "h2", START, repeat(frame(http2.PING, 0, 0, b"torture.")), HEAD_S),
    ("HTTP/2: WINDOW_UPDATE every second, no request", "h2", START, repeat(window_update(0, 1)), HEAD_S),
    ("HTTP/2: PRIORITY every second, no request", "h2", START, repeat(frame(http2.PRIORITY, 0, 3, b"\0\0\0\0\1")), HEAD_S),
    ("HTTP/2: HEADERS without END_HEADERS", "h2", START + frame(http2.HEADERS, http2.END_STREAM, 1, b"\x82"), None, HEAD_S),
    ("HTTP/2: idle after a request", "h2", START + request(1, "/ping"), None, IDLE_S),
    ("HTTP/2: PING every second after a request", "h2", START + request(1, "/ping"), repeat(frame(http2.PING, 0, 0, b"torture.")), IDLE_S),
    ("HTTP/2: SETTINGS every second after a request", "h2", START + request(1, "/ping"), repeat(settings({3: 100})), IDLE_S),
    ("HTTP/2: WINDOW_UPDATE every second after a request", "h2", START + request(1, "/ping"), repeat(window_update(0, 1)), IDLE_S),
    ("HTTP/2: second HEADERS without END_HEADERS", "h2", START + request(1, "/ping") + OPEN_HEADERS, None, IDLE_S),
    (
        "HTTP/2: CONTINUATION every second",
        "h2",
        START + request(1, "/ping") + OPEN_HEADERS,
        repeat(frame(http2.CONTINUATION, 0, 3, b"\x00\x03x-a\x01b")),
        IDLE_S,
    ),
    # The stream is answered after REQUEST_S; the connection is idle from then on.
    ("HTTP/2: body withheld", "h2", START + CART_HEADERS, None, REQUEST_S + IDLE_S),
    ("HTTP/2: a byte of a body every second", "h2", START + CART_HEADERS, repeat(frame(http2.DATA, 0, 1, b" ")), REQUEST_S + IDLE_S),
    ("HTTP/2: window of 0, one stream", "h2", NO_WINDOW + request(1, LARGE), None, UNREAD_S),
    (f"HTTP/2: window of 0, {MANY} streams", "h2", NO_WINDOW + b"".join(request(1 + 2 * i, LARGE) for i in range(MANY)), None, UNREAD_S),
    ("HTTP/2: window of 0, PING every second", "h2", NO_WINDOW + request(1, LARGE), repeat(frame(http2.PING, 0, 0, b"torture.")), UNREAD_S),
    ("HTTP/2: window of 0, a byte of window every second", "h2", NO_WINDOW + request(1, LARGE), repeat(window_update(1, 1)), RATE_S),
]
# These do not read at all; the server's side is found in /proc/net/tcp.
LARGE_GET = f"GET {LARGE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
UNREAD_KINDS = [
    (f"HTTP/1.1: {MANY} responses, not read", "http/1.1", LARGE_GET * MANY, None, UNREAD_S),
    (f"HTTP/2: {MANY} responses, not read from the socket", "h2", START + b"".join(request(1 + 2 * i, LARGE) for i in range(MANY)), None, UNREAD_S),
]
# Reads a byte every second.
DRIBBLED_KIND = (f"HTTP/1.1: {MANY} responses, a byte read every second", "http/1.1", LARGE_GET * MANY, None, RATE_S)


ESTABLISHED = "01"


def established(server_port):
    """The ports and addresses of the clients whose connections are established on the server's side, whatever they have read."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{server_port:04X}") and fields[3] == ESTABLISHED:
            address, port = fields[2].split(":")
            found.append((int(port, 16), socket.inet_ntoa(bytes.fromhex(address)[::-1])))
    return found


class Client(threading.Thread):
    """One kind of silence; `took_s` is when the server had closed the connection, None when it did not within the limit."""

    def __init__(self, site, kind, reads):
        super().__init__(daemon=True)
        self.site, self.reads = site, reads
        self.name, self.alpn, self.first, self.every_second, self.limit_s = kind
        self.took_s, self.problem = None, None
        self.start()

    def connect(self):
        if self.alpn is None:
            return socket.create_connection(("127.0.0.1", self.site.port("dexar")), 8)
        buffer = None if self.reads == "all" else 4096
        return http2.tls(self.site, "dexar", [self.alpn] if self.alpn else (), receive_buffer=buffer)

    def run(self):
        try:
            client = self.connect()
        except OSError as error:
            self.problem = f"no connection: {error}"
            return
        with client:
            started = time.monotonic()
            if self.is_closed_while(client):
                self.took_s = time.monotonic() - started

    def is_closed_while(self, client):
        started, sent = time.monotonic(), 0
        if not self.send(client, self.first):
            return True
        port = client.getsockname()[1]
        while (now := time.monotonic() - started) < self.limit_s + GRACE_S + 1:
            if self.every_second and now > sent + 1:
                if not self.send(client, self.every_second(sent)):
                    return True
                sent += 1
            if self.reads == "all":
                if self.read(client, 65536, 0.2) == b"":
                    return True
                continue
            if self.reads == "dribble" and self.read(client, 1, 0.2) == b"":
                return True
            time.sleep(0.8)
            if port not in (client for client, _ in established(self.site.port("dexar"))):
                return True
        return False

    def send(self, client, data):
        client.settimeout(1)
        try:
            client.sendall(data)
        except (TimeoutError, ssl.SSLWantWriteError):
            # The server does not read more, which is its right.
            return True
        except OSError:
            return False
        return True

    def read(self, client, size, seconds):
        client.settimeout(seconds)
        try:
            return client.recv(size)
        except (TimeoutError, ssl.SSLWantReadError):
            return None
        except OSError:
            return b""

    def text(self):
        return self.problem or ("still open" if self.took_s is None else f"closed after {self.took_s:.1f} s")

    def is_held(self):
        return self.took_s is not None and self.took_s <= self.limit_s + GRACE_S


def silence(site, table):
    if SHORT:
        milliseconds = {"handshake": HANDSHAKE_S, "head": HEAD_S, "idle": IDLE_S, "request": REQUEST_S}
        site.restart("[timeouts]\n" + "".join(f"{name}_ms = {seconds * 1000}\n" for name, seconds in milliseconds.items()))
    watch = MemoryWatch(site)
    kinds = [(kind, "all") for kind in KINDS] + [(kind, "nothing") for kind in UNREAD_KINDS] + [(DRIBBLED_KIND, "dribble")]
    clients = []
    for kind, reads in kinds:
        clients.append(Client(site, kind, reads))
        # All handshakes at once would delay each other.
        time.sleep(0.05)
    for client in clients:
        client.join()
        say(f"  {client.name}: {client.text()}, limit {client.limit_s} s")
    watch.stop()
    late = [client for client in clients if not client.is_held()]
    result = f"{len(clients) - len(late)} of {len(clients)} closed in time"
    if late:
        result += "; not: " + "; ".join(f"{client.name} ({client.text()})" for client in late)
    tried = f"{len(clients)} kinds of silent, slow and dribbling connections"
    table.add("silence", tried, result, f"all within the configured time + {GRACE_S} s", not late)
    _slowhttptest(site, table)


# ---- slowhttptest ------------------------------------------------------------------------------------------------------


MODES = [
    ("slow headers", ["-H", "-i", "1", "-x", "24"], HEAD_S),
    ("slow bodies", ["-B", "-i", "1", "-s", "8192", "-t", "POST", "-f", "application/json", "-x", "24"], REQUEST_S),
    # Reads 32 bytes every 5 s of a response.
    ("slow reading", ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32"], RATE_S),
]


def _slowhttptest(site, table):
    count = 100 if SHORT else 400
    _, body = site.get(site.urls["dexar"] + LARGE)
    probe = Probe(site, ["dexar ping", "dexar item"])
    try:
        with Nginx(site, body, (HEAD_S, REQUEST_S, IDLE_S)) as nginx, ThreadPoolExecutor(2) as pool:
            results = []
            for mode, options, limit_s in MODES:
                path = "/cart" if "-B" in options else LARGE
                ours = pool.submit(_run, site.port("dexar"), path, count, options, limit_s)
                beside = pool.submit(_run, nginx.port(""), "/file", count, options, limit_s)
                results.append((mode, limit_s, *ours.result(), *beside.result()))
        probe.stop()
    finally:
        probe.kill()
    for mode, limit_s, closed_s, available, nginx_s, nginx_available in results:
        result = f"{_closed(closed_s)}, available {available:.0%}; nginx: {_closed(nginx_s)}, available {nginx_available:.0%}"
        goal_s = limit_s + GRACE_S + HANDSHAKES_S
        held = closed_s is not None and closed_s <= goal_s and available == 1
        table.add("silence", f"slowhttptest: {mode}, {count} connections", result, f"closed within {goal_s} s, available 100 %", held)
    table.add_probe("silence", "the same: another client", probe)


# Connections that slowhttptest opens a second.
RATE = 200
# TLS handshakes of slowhttptest, which has one thread.
HANDSHAKES_S = 3


def _closed(seconds):
    return "not all closed" if seconds is None else f"all closed within {seconds:.0f} s"


def _run(port, path, count, options, limit_s):
    """How long the longest connection was open on the server's side (None: until the end), and the share of seconds in which the
    server was available to slowhttptest."""
    seconds = limit_s + GRACE_S + HANDSHAKES_S + 5
    with tempfile.TemporaryDirectory() as place:
        command = ["slowhttptest", "-c", str(count), "-r", str(RATE), *options, "-u", f"https://127.0.0.1:{port}{path}"]
        command += ["-p", "3", "-l", str(seconds), "-g", "-o", f"{place}/out"]
        started, first_seen, last_seen, is_open_at_end = time.monotonic(), {}, {}, False
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            while process.poll() is None:
                now = time.monotonic()
                clients = {client for client, address in established(port) if address != PROBE_ADDRESS}
                for client in clients:
                    first_seen.setdefault(client, now)
                    last_seen[client] = now
                # Of the first ones: the last ones have not had their time, and slowhttptest checks availability until the end.
                is_open_at_end = any(now - first_seen[client] > seconds - HANDSHAKES_S - 1 for client in clients)
                if now - started > seconds + 30:
                    raise CannotRun("slowhttptest does not end")
                time.sleep(0.2)
        finally:
            process.kill()
            _, problem = process.communicate()
        try:
            rows = list(csv.reader(Path(f"{place}/out.csv").read_text().splitlines()[1:]))
        except FileNotFoundError:
            raise CannotRun(f"slowhttptest wrote no statistics: {problem[-300:]}") from None
    # Seconds, Closed, Pending, Connected, Service Available.
    available = [int(row[4]) > 0 for row in rows if len(row) > 4 and row[0].strip().isdigit()]
    if not available or len(first_seen) < count // 2:
        raise CannotRun(f"slowhttptest had only {len(first_seen)} connections")
    longest_s = max(last_seen[client] - first_seen[client] for client in first_seen)
    return (None if is_open_at_end else longest_s), sum(available) / len(available)
