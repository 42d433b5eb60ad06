"""Time from start to the first response, and memory of an idle gateway with two brands and an empty cache.

Arguments: the binary, the CA's certificate, a path, and the two brands' ports. Each start is a new process with warm files, as after an
upgrade; the time ends with the last byte of a TLS response from both brands.
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

BINARY, CA, PATH_ASKED = sys.argv[1], sys.argv[2], sys.argv[3]
PORTS = [int(port) for port in sys.argv[4:]]
STARTS = int(os.environ.get("ROUNDS", "5")) * 2 + 1
LONGEST_S = 10


def ask(port, context, give_up):
    while True:
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=LONGEST_S)
        try:
            connection.request("GET", PATH_ASKED)
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        if time.monotonic() > give_up:
            sys.exit(f"bench: no response on port {port}")
        time.sleep(0.001)


def pss_mb(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1)) / 1024


def main():
    context = ssl.create_default_context(cafile=CA)
    took_ms, memory_mb = [], []
    for _ in range(STARTS):
        begun = time.monotonic()
        process = subprocess.Popen([BINARY, "serve"], env={**os.environ, "BRANDGATE_ADMIN": "127.0.0.1:0"})
        for port in PORTS:
            ask(port, context, begun + LONGEST_S)
        took_ms.append((time.monotonic() - begun) * 1000)
        # Temporary allocations of the start are freed within a second.
        time.sleep(1)
        memory_mb.append(pss_mb(process.pid))
        process.terminate()
        process.wait(LONGEST_S)
    print(json.dumps({"start_ms": took_ms, "idle_mb": memory_mb}))
    for what, values, goal in (("from exec to a response of both brands, ms", took_ms, 100), ("idle, both brands, nothing cached, MB PSS", memory_mb, 35)):
        print(f"{what}: {statistics.median(values):.0f} [{min(values):.0f}-{max(values):.0f}], goal {goal}", file=sys.stderr)


main()
