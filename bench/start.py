"""Measures the start-up time and the memory of an idle gateway with two brands and an empty cache.

The files are in the page cache, as after an upgrade. The time is from before the process is created to the last byte of a
response over TLS from both brands.
"""

import http.client
import json
import os
import re
import ssl
import statistics
import subprocess
import sys
import time
from pathlib import Path

BINARY, CA, REQUEST_PATH = sys.argv[1], sys.argv[2], sys.argv[3]
PORTS = [int(port) for port in sys.argv[4:]]
STARTS = int(os.environ.get("ROUNDS", "5")) * 2 + 1
TIMEOUT_S = 10


def await_response(port, context, deadline):
    while True:
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=TIMEOUT_S)
        try:
            connection.request("GET", REQUEST_PATH)
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        if time.monotonic() > deadline:
            sys.exit(f"bench: no response on port {port}")
        time.sleep(0.001)


def pss_mb(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1)) / 1024


def main():
    context = ssl.create_default_context(cafile=CA)
    start_ms, memory_mb = [], []
    for _ in range(STARTS):
        started = time.monotonic()
        process = subprocess.Popen([BINARY, "serve"], env={**os.environ, "BRANDGATE_ADMIN": "127.0.0.1:0"})
        for port in PORTS:
            await_response(port, context, started + TIMEOUT_S)
        start_ms.append((time.monotonic() - started) * 1000)
        # Memory that is used during the start only is released by then.
        time.sleep(1)
        memory_mb.append(pss_mb(process.pid))
        process.terminate()
        process.wait(TIMEOUT_S)
    print(json.dumps({"start_ms": start_ms, "idle_mb": memory_mb}))
    for name, values, goal in (("from exec to a response of both brands, ms", start_ms, 100), ("idle, both brands, nothing cached, MB PSS", memory_mb, 35)):
        print(f"{name}: {statistics.median(values):.0f} [{min(values):.0f}-{max(values):.0f}], goal {goal}", file=sys.stderr)


main()
