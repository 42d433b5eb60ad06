"""Median latencies of uncached reads, as JSON: name of the request to milliseconds.

Requests are sequential on one connection. The kinds of requests alternate, so that a disturbance affects all of them.
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
FIRST, REPETITIONS, PAGE_SIZE, DEEP_OFFSET = 1_000_000, 150, 50, 10_000
random.seed(7)


def connect():
    context = ssl.create_default_context(cafile=CA)
    deadline = time.monotonic() + 30
    while True:
        connection = http.client.HTTPSConnection("localhost", PORT, context=context, timeout=60)
        try:
            connection.request("GET", "/regions")
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                return connection
        except OSError:
            pass
        if time.monotonic() > deadline:
            sys.exit("bench: failed to connect to the shop")
        time.sleep(0.05)


def fetch(connection, path):
    started = time.perf_counter()
    connection.request("GET", path)
    response = connection.getresponse()
    body = json.loads(response.read())
    duration_ms = (time.perf_counter() - started) * 1000
    if response.status != 200:
        sys.exit(f"bench: {path}: {response.status} {body}")
    return body, duration_ms


def last_full_page(connection):
    """The offset DEEP_OFFSET, or that of the last full page of a smaller category."""
    tree, _ = fetch(connection, "/category")
    count = next(category["itemCount"] for category in tree if category["categoryID"] == int(CATEGORY))
    return min(DEEP_OFFSET, count - PAGE_SIZE)


def main():
    connection = connect()
    deep = last_full_page(connection)
    random_id = lambda: FIRST + random.randrange(ITEMS)
    names = {}
    for _ in range(REPETITIONS):
        item, _ = fetch(connection, f"/item/{random_id()}")
        names[item["itemID"]] = item["name"]
    names = list(names.values())
    kinds = {
        "item": lambda: f"/item/{random_id()}",
        "category page, the first": lambda: f"/category/{CATEGORY}?count={PAGE_SIZE}",
        f"category page, offset {DEEP_OFFSET:,}": lambda: f"/category/{CATEGORY}?count={PAGE_SIZE}&skip={deep}",
        "search for a model": lambda: f"/searchitems?search={urllib.parse.quote(random.choice(names))}",
    }
    durations = {kind: [] for kind in kinds}
    for _ in range(REPETITIONS):
        for kind, path in kinds.items():
            durations[kind].append(fetch(connection, path())[1])
    print(json.dumps({kind: statistics.median(values) for kind, values in durations.items()}))


main()
