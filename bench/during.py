"""Measures the 99th percentile of payments and cart writes at rest, and while an import changes the text and stock of every item.

Arguments: the program, the directory of bench/run.sh, the ports of the gateway, of the bank and of the admin listener, and the number of
rounds. The bank is a server in this process that accepts every QR code. Each client is a new visitor for every request.
"""

import http.client
import http.server
import itertools
import json
import secrets
import ssl
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

BINARY, WORK, ROUNDS = sys.argv[1], Path(sys.argv[2]), int(sys.argv[6])
GATEWAY_PORT, BANK_PORT, ADMIN_PORT = map(int, sys.argv[3:6])
REST_S = 10
GOAL = 3
FIRST_ITEM = 1_000_000
NUMBERS = itertools.count(1)


class Bank(http.server.BaseHTTPRequestHandler):
    """Registers QR codes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        name = f"AD{secrets.token_hex(15).upper()}"
        body = json.dumps({"code": "SUCCESS", "qrId": name, "payload": f"https://qr.nspk.ru/{name}", "qrUrl": f"https://qr/{name}"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Client(threading.Thread):
    """Sends one kind of request, one after another, until `stop` is set; `times_s` are their durations."""

    def __init__(self, kind, stop):
        super().__init__(daemon=True)
        self.kind, self.stop, self.times_s, self.failed = kind, stop, [], []

    def run(self):
        trusted = ssl.create_default_context(cafile=WORK / "certs/ca.pem")
        connection = http.client.HTTPSConnection("localhost", GATEWAY_PORT, context=trusted)
        while not self.stop.is_set():
            number = next(NUMBERS)
            item = FIRST_ITEM + number * 7919 % ITEMS
            body = {"itemID": item, "quantity": 1}
            if self.kind == "payment":
                body = {"amount": 10, "siteorderID": f"o{number}", "items": [{"itemID": item, "price": 10, "quantity": 1}]}
            headers = {"Content-Type": "application/json", "Cookie": f"__Host-dexar_visitor={secrets.token_hex(32)}"}
            started = time.monotonic()
            connection.request("POST", "/cart", json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
            self.times_s.append(time.monotonic() - started)
            if response.status != 200:
                self.failed.append((response.status, text[:200]))
            # A visitor thinks longer than this; without a pause the clients themselves would be the load.
            time.sleep(0.01)


def changed_items(round_number):
    """A file with another text and stock for every item."""
    path = WORK / "changed.jsonl"
    with path.open("w") as out:
        for number in range(FIRST_ITEM, FIRST_ITEM + ITEMS):
            out.write(f'{{"itemID":{number},"simpleDescription":"Round {round_number}","quantity":{5000 + round_number}}}\n')
    return path


def measure(load):
    """The 99th percentiles in milliseconds while `load` runs: of payments and of cart writes."""
    stop = threading.Event()
    clients = [Client(kind, stop) for kind in ("payment", "cart write") for _ in range(2)]
    for client in clients:
        client.start()
    load()
    stop.set()
    for client in clients:
        client.join()
    failed = [failure for client in clients for failure in client.failed]
    if failed:
        sys.exit(f"bench: {len(failed)} requests failed, such as {failed[0]}")
    times_s = {kind: [t for client in clients if client.kind == kind for t in client.times_s] for kind in ("payment", "cart write")}
    return {kind: statistics.quantiles(values, n=100)[98] * 1000 for kind, values in times_s.items()}


def import_all(round_number):
    path = changed_items(round_number)
    return lambda: subprocess.run([BINARY, "catalog", "import", "--brand", "dexar", path], check=True, stdout=subprocess.DEVNULL)


def main():
    bank = http.server.ThreadingHTTPServer(("127.0.0.1", BANK_PORT), Bank)
    threading.Thread(target=bank.serve_forever, daemon=True).start()
    deadline = time.monotonic() + 20
    while True:
        try:
            admin = http.client.HTTPConnection("127.0.0.1", ADMIN_PORT)
            admin.request("GET", "/readyz")
            if admin.getresponse().status == 200:
                break
        except OSError:
            pass
        if time.monotonic() > deadline:
            sys.exit("bench: the gateway did not start")
        time.sleep(0.1)
    results = {"payment": [], "cart write": []}
    for round_number in range(1, ROUNDS + 1):
        load = import_all(round_number)
        rest, busy = measure(lambda: time.sleep(REST_S)), measure(load)
        for kind in results:
            results[kind].append((busy[kind], rest[kind]))
    (WORK / "during.json").write_text(json.dumps(results))
    for kind, pairs in results.items():
        ratio = statistics.median(busy / rest for busy, rest in pairs)
        text = ", ".join(f"{busy:.0f} ÷ {rest:.0f} ms" for busy, rest in pairs)
        print(f"{kind} during an import of {ITEMS} changed items ÷ without one, 99th percentile: {ratio:.2f} ({text}), goal {GOAL}", file=sys.stderr)


with (WORK / "items.jsonl").open() as items:
    ITEMS = sum(1 for _ in items)
main()
