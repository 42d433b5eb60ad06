"""Clients that take what others need: permits, connection slots, keys in Redis; lost responses; load beyond the capacity."""

import json
import os
import re
import resource
import select
import socket
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import http2
from site_under_test import BRANDS, GENEROUS_RATES, HERE, PROBE_GOAL, SHORT, CannotRun, MemoryWatch, Probe, attackers, p99

STREAMS = 100
NOTIFY = "/payments/raiffeisen/notify"
KEYS_GOAL = 2_000
# Connections of h2load in an open loop.
CLIENTS = 64
# Enough to occupy the machine; responses in progress at the end are not counted.
CLOSED_LOOP = ["-c16", "-m4"]
TRIES = 3


# ---- bodies ------------------------------------------------------------------------------------------------------------


def bodies(site, table):
    """One address withholds the bodies of as many requests as its connections can carry."""
    count, seconds = (22, 8) if SHORT else (60, 25)
    watch, probe = MemoryWatch(site), Probe(site)
    try:
        statuses, sent = _withhold(site, count, seconds)
        probe.stop()
    finally:
        probe.kill()
    watch.stop()
    tried = f"{count} connections of one address, {STREAMS} × POST {NOTIFY} open on each, bodies withheld for {seconds} s"
    summary = ", ".join(f"{number} × {status}" for status, number in statuses.most_common(4)) or "none"
    table.add("bodies", tried, f"{watch.text()}; {sent} requests, responses: {summary}", "alive", not watch.deaths())
    for what in ("ping", "cart write", "notification", "item"):
        table.add_probe("bodies", f"the same: {what} of another client", probe, [f"dexar {what}"])
    table.add_probe("bodies", "the same: a client of the other brand", probe, [kind for kind in probe.kinds if kind.startswith("novo")])


def _withhold(site, count, seconds):
    def connect():
        try:
            connection = http2.Connection(site, "dexar", attackers(1)[0])
        except OSError:
            return None
        connection.next_stream = 1
        return connection

    connections = [None] * count
    statuses, sent = Counter(), 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for number in range(count):
            connection = connections[number]
            if connection is None or connection.closed:
                if connection:
                    statuses += connection.statuses
                    connection.close()
                connection = connections[number] = connect()
                if connection is None:
                    statuses["connection refused"] += 1
                    continue
            connection.poll(0.002)
            is_open = (connection.next_stream - 1) // 2 - connection.finished - connection.resets
            missing = STREAMS - max(0, is_open)
            if missing > 0:
                requests = []
                for _ in range(missing):
                    requests.append(http2.request(connection.next_stream, NOTIFY, "POST", [("content-type", "application/json")], end=False))
                    connection.next_stream += 2
                connection.send(b"".join(requests))
                sent += missing
        time.sleep(0.2)
    for connection in filter(None, connections):
        statuses += connection.statuses
        connection.close()
    return statuses, sent


# ---- sockets -----------------------------------------------------------------------------------------------------------


def sockets(site, table):
    """One address opens TCP connections up to the limit of connections and says nothing on them; closed ones are replaced."""
    count, seconds = (1_000, 8) if SHORT else (10_000, 25)
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if allowed != resource.RLIM_INFINITY and allowed < count + 1_000:
        raise CannotRun(f"{count} connections need more than the hard limit of {allowed} file descriptors")
    if SHORT:
        site.restart(f"[limits]\nconnections = {count}\n")
    probe = Probe(site)
    readiness = Counter()
    try:
        most_open, made = _silent(site, count, seconds, readiness)
        probe.stop()
    finally:
        probe.kill()
    tried = f"{count} silent TCP connections of one address for {seconds} s, closed ones replaced"
    table.add("sockets", f"{tried}: another address", f"{probe.result()[0]}; {most_open} open, {made} made", PROBE_GOAL, probe.result()[1])
    dexar = [kind for kind in probe.kinds if kind.startswith("dexar")]
    is_served = probe.is_complete(dexar)
    summary = ", ".join(f"{number} × {status or 'none'}" for status, number in readiness.most_common())
    is_right = (set(readiness) == {200}) == is_served
    served = "all others are served" if is_served else "others are not served"
    table.add("sockets", "the same: readiness", f"{summary} while {served}", "200 if and only if others are served", is_right)


def _silent(site, count, seconds, readiness):
    poll, open_sockets = select.epoll(), {}
    deadline, next_check, most_open, made = time.monotonic() + seconds, 0.0, 0, 0
    while time.monotonic() < deadline:
        for _ in range(min(400, count - len(open_sockets))):
            client = socket.socket()
            client.setblocking(False)
            try:
                # The source address of a connection to 127.0.0.1 is otherwise 127.0.0.1; it must not be the probe's.
                client.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
                client.bind((attackers(1)[0], 0))
                client.connect(("127.0.0.1", site.port("dexar")))
            except BlockingIOError:
                pass
            except OSError:
                client.close()
                break
            open_sockets[client.fileno()] = client
            poll.register(client.fileno(), select.EPOLLIN | select.EPOLLHUP | select.EPOLLRDHUP)
            made += 1
        for descriptor, _ in poll.poll(0.02, 2_000):
            open_sockets.pop(descriptor).close()
        most_open = max(most_open, len(open_sockets))
        if time.monotonic() > next_check:
            readiness[site.ready()] += 1
            next_check = time.monotonic() + 1
    for client in open_sockets.values():
        client.close()
    poll.close()
    return most_open, made


# ---- strangers ---------------------------------------------------------------------------------------------------------


def strangers(site, table):
    """Keys in Redis that requests with made-up cookies create."""
    seconds = 3 if SHORT else 10
    write = json.dumps({"itemID": site.items["dexar"], "quantity": 1})
    for tried, script, more in (
        ("POST /auth/logout with cookies that never existed", "logout.lua", {}),
        ("POST /cart, a new visitor each time", "cart.lua", {"METHOD": "POST", "BODY": write}),
        ("POST /cart with an invalid body, a new visitor each time", "cart.lua", {"METHOD": "POST", "BODY": "{}"}),
        ("GET /cart, a new visitor each time", "cart.lua", {"METHOD": "GET", "BODY": ""}),
    ):
        site.redis("FLUSHALL")
        command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", str(HERE / script), site.urls["dexar"].replace("localhost", "127.0.0.1")]
        text = _run(command, env={**os.environ, "BRAND": "dexar", **more})
        keys, requests = int(site.redis("DBSIZE")), int(re.search(r"(\d+) requests in", text).group(1))
        table.add("strangers", f"{tried}, one address, {seconds} s", f"{keys} keys by {requests} requests", f"≤ {KEYS_GOAL} keys", keys <= KEYS_GOAL)


def _run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)
    if done.returncode:
        raise CannotRun(f"{command[0]}: status {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}")
    return done.stdout


# ---- curl --------------------------------------------------------------------------------------------------------------


def curl(site, table):
    """POSTs whose body the handler does not need, over HTTP/2 with curl, on one connection and on a connection each."""
    site.restart(GENEROUS_RATES)
    count = 300 if SHORT else 1_000
    singles = count // 10
    for path in ("/auth/logout", "/auth/telegram/start"):
        common = ["curl", "-sS", "--noproxy", "*", "--http2", "--cacert", site.ca, "-m", "10", "-H", "Content-Type: application/json"]
        common += ["-d", "{}", "-o", "/dev/null", "-w", "%{http_code} %{exitcode}\n"]
        url = site.urls["dexar"] + path
        # The fragment is not sent; it makes curl repeat the request.
        lines = _lines([*common, f"{url}#[1-{count - singles}]"])
        for _ in range(singles):
            lines += _lines([*common, url])
        lost = sum(1 for line in lines if line.startswith("000") or not line.endswith(" 0"))
        lost += count - len(lines)
        statuses = Counter(line.split(" ")[0] for line in lines)
        summary = ", ".join(f"{number} × {status}" for status, number in statuses.most_common(4))
        table.add("curl", f"{count} × POST {path} with `{{}}`, HTTP/2, {_curl_version()}", f"{lost} lost ({summary})", "0 lost", lost == 0)


def _lines(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout.splitlines()


def _curl_version():
    return " ".join(subprocess.run(["curl", "-V"], capture_output=True, text=True, check=True).stdout.split()[:2])


# ---- overload ----------------------------------------------------------------------------------------------------------


def overload(site, table):
    """The highest throughput that a closed loop reaches, then twice as many requests a second in an open loop."""
    seconds = 4 if SHORT else 10
    for path in ("/cart", "/randomitems?count=20"):
        probe = Probe(site)
        try:
            _load(site, path, 1, CLOSED_LOOP)
            highest = max(_load(site, path, seconds / 2, CLOSED_LOOP)[0] for _ in range(2))
            time.sleep(1)
            for _ in range(TRIES):
                probe.mark()
                rate = max(1, round(2 * highest / CLIENTS))
                passed, refused_ms, statuses = _load(site, path, seconds, [f"-c{CLIENTS}", "-m100", f"--rps={rate}"])
                if passed <= 1.2 * highest:
                    break
                # The machine was busy when it was measured.
                highest = passed
            probe.stop()
        finally:
            probe.kill()
        share = passed / highest if highest else 0
        summary = ", ".join(f"{number} × {status}" for status, number in statuses.most_common(4))
        tried = f"GET {path}, {rate * CLIENTS} requests a second for {seconds} s, twice the highest throughput"
        table.add("overload", tried, f"{highest:.0f} → {passed:.0f} 2xx/s ({share:.0%}); {summary}", "≥ 90 % of the highest", share >= 0.9)
        if refused_ms:
            slow_ms = p99(refused_ms)
            table.add("overload", "the same: time of a refusal", f"p99 {slow_ms:.0f} ms, of {len(refused_ms)}", "< 50 ms", slow_ms < 50)
        for what in ("ping", "notification"):
            # The machine is saturated by design: only completeness is a goal.
            kinds = [f"{brand} {what}" for brand in BRANDS]
            held = probe.is_complete(kinds)
            table.add("overload", f"the same: {what} of another client", probe.result(kinds)[0], "all answered", held)
        # The load itself takes its share of the machine.
        table.add_probe("overload", "the same: a client of the other brand", probe, [kind for kind in probe.kinds if kind.startswith("novo")])


def _load(site, path, seconds, options):
    """2xx per second, the milliseconds of each refusal, responses by status."""
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        url = site.urls["dexar"].replace("localhost", "127.0.0.1") + path
        _run(["h2load", "-t1", *options, f"-D{seconds:.0f}", f"--log-file={log}", url])
        statuses, refused_ms = Counter(), []
        with log.open() as lines:
            for line in lines:
                _, status, took_us = line.split()[:3]
                statuses[status] += 1
                if status in ("429", "503"):
                    refused_ms.append(int(took_us) / 1000)
    return sum(number for status, number in statuses.items() if status.startswith("2")) / seconds, refused_ms, statuses
