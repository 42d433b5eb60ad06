"""Median latencies of uncached reads.

One connection with one request at a time, so that only the read is measured; the kinds of requests alternate, so that a disturbance
affects all of them. Prints JSON: kind of request to median in milliseconds.
"""

import http.client
import json
import random
import ssl
import statistics
import sys
import time
import urllib.parse

PORT, CA, ITEMS, CATEGORY = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
FIRST, TIMES, PAGE, DEEP = 1_000_000, 150, 50, 10_000
random.seed(7)


def connect():
    context = ssl.create_default_context(cafile=CA)
    give_up = time.monotonic() + 30
    while True:
        connection = http.client.HTTPSConnection("localhost", PORT, context=context, timeout=60)
        try:
            connection.request("GET", "/regions")
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                return connection
        except OSError:
            pass
        if time.monotonic() > give_up:
            sys.exit("bench: the shop is not ready")
        time.sleep(0.05)


def ask(connection, path):
    begun = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    took_ms = (time.perf_counter() - begun) * 1000
    if answer.status != 200:
        sys.exit(f"bench: {path}: {answer.status} {body}")
    return body, took_ms


def last_full_page(connection):
    """The offset of the page at DEEP, or of the last full page of a smaller category."""
    tree, _ = ask(connection, "/category")
    count = next(category["itemCount"] for category in tree if category["categoryID"] == int(CATEGORY))
    return min(DEEP, count - PAGE)


def main():
    connection = connect()
    deep = last_full_page(connection)
    some = lambda: FIRST + random.randrange(ITEMS)
    names = {}
    for _ in range(TIMES):
        item, _ = ask(connection, f"/item/{some()}")
        names[item["itemID"]] = item["name"]
    names = list(names.values())
    kinds = {
        "item": lambda: f"/item/{some()}",
        "category page, the first": lambda: f"/category/{CATEGORY}?count={PAGE}",
        f"category page, offset {DEEP:,}": lambda: f"/category/{CATEGORY}?count={PAGE}&skip={deep}",
        "search for a model": lambda: f"/searchitems?search={urllib.parse.quote(random.choice(names))}",
    }
    took = {kind: [] for kind in kinds}
    for _ in range(TIMES):
        for kind, path in kinds.items():
            took[kind].append(ask(connection, path())[1])
    print(json.dumps({kind: statistics.median(values) for kind, values in took.items()}))


main()
