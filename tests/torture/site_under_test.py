"""The site under attack: its addresses, the gateway process, its memory, Redis, and another client of both brands."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
BRANDS = ("dexar", "novo")
MERCHANTS = {"dexar": "MA0000000445", "novo": "MA0000000444"}
PROBE_ADDRESS = "127.0.9.9"
ALL_KINDS = [f"{brand} {what}" for brand in BRANDS for what in ("ping", "item", "cart write", "notification")]
SHORT = bool(os.environ.get("SHORT"))
LIMIT_MB = int(os.environ["MEMORY_MB"])
# Below this a 99th percentile says more about the other processes of the machine than about the gateway.
NOISE_MS = 100

GENEROUS_RATES = """[rates]
logins_per_address = 100000
cart_writes_per_address = 1000000
cart_writes_per_visitor = 100000
payments_per_address = 100000
reviews_per_address = 100000
logouts_per_address = 100000
anonymous_reviews_per_hour = 100000
anonymous_questions_per_hour = 100000
"""


def say(text):
    print(f"torture: {text}", file=sys.stderr, flush=True)


def attackers(count):
    """Loopback addresses that are not the probe's."""
    return [f"127.0.1.{1 + i % 250}" for i in range(count)]


class CannotRun(Exception):
    """A scenario could not be run."""


class Site:
    def __init__(self):
        self.state = Path(os.environ["STATE"])
        self.ca = str(self.state / "ca.pem")
        self.urls = {brand: os.environ[f"{brand.upper()}_API"] for brand in BRANDS}
        self.control = Path(os.environ["TORTURE_STATE"])
        self.results = Path(os.environ["TORTURE_RESULTS"])
        self.services = dict(re.findall(r"^(?:export )?(\w+)='?(.*?)'?$", (self.state / "services.env").read_text(), re.M))
        self.admin = self._admin_url()
        self.brand_files = {path: path.read_text() for path in (self.state / "brands").glob("*.toml")}
        self.items = {brand: self._item(brand) for brand in BRANDS}

    def port(self, brand):
        return int(self.urls[brand].rsplit(":", 1)[1])

    def _admin_url(self):
        # The third of the environment's ports in a row.
        return f"http://127.0.0.1:{self.port('dexar') + 2}"

    def get(self, url, timeout=5):
        """The status and body of a GET without a proxy; status 0 when there is no response."""
        context = ssl.create_default_context(cafile=self.ca)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(url, timeout=timeout) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, b""
        except OSError:
            return 0, b""

    def _item(self, brand):
        status, body = self.get(f"{self.urls[brand]}/randomitems?count=1")
        if status != 200:
            raise CannotRun(f"{brand}: GET /randomitems: status {status}")
        return json.loads(body)[0]["itemID"]

    # ---- the gateway process -------------------------------------------------------------------------------------------

    def pid(self):
        return int((self.control / "gateway.pid").read_text())

    def exits(self):
        """The exit statuses of every gateway process so far."""
        try:
            return (self.control / "gateway.exits").read_text().split()
        except FileNotFoundError:
            return []

    def ready(self):
        return self.get(f"{self.admin}/readyz", timeout=2)[0]

    def restart(self, settings=""):
        """Gives the scenario a new gateway process with these tables in both brand files. The old one gets SIGTERM and 5 s, then SIGKILL."""
        for path, text in self.brand_files.items():
            path.write_text(text + settings)
        before, pid = len(self.exits()), self.pid()
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while len(self.exits()) == before:
            time.sleep(0.05)
            if time.monotonic() > deadline:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                deadline += 60
        self.await_ready()

    def await_ready(self):
        deadline = time.monotonic() + 60
        while not all(self.get(f"{self.urls[brand]}/ping", timeout=2)[0] == 200 for brand in BRANDS):
            if time.monotonic() > deadline:
                raise CannotRun("the gateway is not ready after 60 s")
            time.sleep(0.1)

    # ---- Redis ---------------------------------------------------------------------------------------------------------

    def redis(self, *words):
        """The reply to a command whose reply is one line."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(self.services["REDIS_URL"].removeprefix("unix://"))
            client.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words))
            return client.makefile("rb").readline().strip()[1:].decode()


class MemoryWatch(threading.Thread):
    """Samples the resident memory of the gateway."""

    def __init__(self, site):
        super().__init__(daemon=True)
        self.site, self.stopping = site, threading.Event()
        self.exits_before = len(site.exits())
        self.peak_mb = self.start_mb = self.now_mb()
        self.start()

    def now_mb(self):
        try:
            text = Path(f"/proc/{self.site.pid()}/status").read_text()
            return int(re.search(r"^VmRSS:\s+(\d+)", text, re.M).group(1)) / 1024
        except (OSError, AttributeError):
            return 0.0

    def run(self):
        while not self.stopping.wait(0.05):
            self.peak_mb = max(self.peak_mb, self.now_mb())

    def stop(self):
        self.stopping.set()
        self.join()
        return self

    def deaths(self):
        return len(self.site.exits()) - self.exits_before

    def text(self):
        died = self.deaths()
        return f"peak {self.peak_mb:.0f} MB, " + (f"the process died {died} ×" if died else "alive")

    def is_held(self):
        return self.peak_mb <= LIMIT_MB and not self.deaths()


class Probe:
    """Another client, on an address of its own. `mark` separates the requests at rest from those under attack."""

    def __init__(self, site, kinds=None, rest_s=None):
        self.kinds = list(kinds or ALL_KINDS)
        credentials = site.state / "credentials"
        options = {
            "ca": site.ca,
            "source": PROBE_ADDRESS,
            # 1,200 cart writes a minute are the limit per address, of both brands separately.
            "interval_s": 0.25,
            "kinds": self.kinds,
            "brands": {
                brand: {
                    "port": site.port(brand),
                    "item": site.items[brand],
                    "merchant": MERCHANTS[brand],
                    "key": (credentials / f"{brand}.bank-key").read_text().strip(),
                }
                for brand in BRANDS
            },
        }
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "probe.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.process.stdin.write(json.dumps(options) + "\n")
        self.process.stdin.flush()
        self.samples, self.from_s, self.until_s = {}, None, None
        time.sleep(rest_s or (3 if SHORT else 8))
        self.mark()

    def mark(self):
        self.from_s = time.time()

    def stop(self):
        """Ends the measurement. Requests in progress are waited for and counted."""
        self.until_s = time.time()
        output, _ = self.process.communicate(timeout=30)
        if self.process.returncode:
            raise CannotRun("the probe failed")
        self.samples = json.loads(output)
        rest = [sample for kind in self.kinds for sample in self.samples[kind] if sample[0] < self.from_s]
        failed = [sample[2] for sample in rest if sample[2]]
        if not rest or len(failed) * 2 > len(rest):
            raise CannotRun(f"the other client is not answered at rest: {Counter(failed)}")
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def _between(self, kinds, is_rest):
        return [
            sample
            for kind in kinds
            for sample in self.samples[kind]
            if (sample[0] < self.from_s) == is_rest and sample[0] < self.until_s
        ]

    def is_complete(self, kinds):
        """Whether every request under attack was answered."""
        attacked = self._between(kinds, False)
        return bool(attacked) and not any(sample[2] for sample in attacked)

    def result(self, kinds=None):
        """Text and whether it was held: every request answered, the 99th percentile within twice its value at rest."""
        kinds = list(kinds or self.kinds)
        rest, attacked = self._between(kinds, True), self._between(kinds, False)
        answered = [sample[1] for sample in attacked if sample[1] is not None]
        problems = Counter(sample[2] for sample in attacked if sample[2])
        before, after = p99([sample[1] for sample in rest if sample[1] is not None]), p99(answered)
        text = f"{len(answered)} of {len(attacked)} answered"
        if problems:
            text += " (" + ", ".join(f"{count} × {problem}" for problem, count in problems.most_common(3)) + ")"
        if answered:
            text += f", p99 {before:.0f} → {after:.0f} ms"
        return text, bool(answered) and not problems and after <= max(2 * before, NOISE_MS)


def p99(values):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * 0.99))] if values else 0.0


PROBE_GOAL = f"all, p99 ≤ 2 × (or {NOISE_MS} ms)"


class Table:
    """The rows: scenario, what was tried, result, goal, held (None: for information)."""

    def __init__(self):
        self.rows = []

    def add(self, scenario, tried, result, goal="", held=None):
        self.rows.append((scenario, tried, result, goal, held))
        say(f"  {tried}: {result}" + {True: " [held]", False: " [NOT HELD]", None: ""}[held])

    def add_probe(self, scenario, tried, probe, kinds=None):
        text, held = probe.result(kinds)
        self.add(scenario, tried, text, PROBE_GOAL, held)

    def markdown(self):
        marks = {True: "held", False: "**not held**", None: "–"}
        lines = ["| Scenario | Tried | Result | Goal | |", "|---|---|---|---|---|"]
        for scenario, tried, result, goal, held in self.rows:
            cells = [scenario, tried, result, goal or "–", marks[held]]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(lines) + "\n"
