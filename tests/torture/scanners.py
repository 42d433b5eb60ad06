"""Public scanners: sslyze, testssl.sh, schemathesis."""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from site_under_test import BRANDS, GENEROUS_RATES, SHORT, CannotRun

BIN = Path(os.environ["VENV_BIN"])
# What the development environment is by design: a certificate of a private authority, without revocation, for localhost, where no
# Strict-Transport-Security is sent. In Mozilla's intermediate profile the client chooses the cipher, which testssl.sh reports.
EXPECTED = ("maximum_certificate_lifespan", "cert_", "OCSP", "DNS_CAArecord", "HSTS", "cipher_order")
LEVELS = ("LOW", "MEDIUM", "HIGH", "CRITICAL")


def scanners(site, table):
    # 429 would hide the response that a test case is about.
    site.restart(GENEROUS_RATES)
    _sslyze(site, table)
    _testssl(site, table)
    _schemathesis(site, table)


def _sslyze(site, table):
    for brand in BRANDS:
        command = [BIN / "python3", "-m", "sslyze", "--certinfo_ca_file", site.ca, "--mozilla_config=intermediate"]
        done = subprocess.run([*command, f"localhost:{site.port(brand)}"], capture_output=True, text=True, timeout=300, check=False)
        section = done.stdout.split("COMPLIANCE AGAINST", 1)[-1]
        if "COMPLIANCE AGAINST" not in done.stdout:
            raise CannotRun(f"sslyze: {done.stdout[-300:]}{done.stderr[-300:]}")
        findings = [line for line in re.findall(r"^\s+\* (.+)$", section, re.M) if not line.startswith(EXPECTED)]
        result = f"{len(findings)} findings" + (": " + "; ".join(findings[:3]) if findings else "")
        table.add("scanners", f"sslyze, Mozilla intermediate: {brand}", result, "0 findings", not findings)


def _testssl(site, table):
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out.json"
        # Protocols, ciphers, forward secrecy, (preferences, defaults,) headers, vulnerabilities.
        tests = ["-p", "-s", "-f", "-h", "-U"] if SHORT else ["-p", "-s", "-f", "-P", "-S", "-h", "-U"]
        command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--add-ca", site.ca, *tests]
        subprocess.run(
            [*command, "--jsonfile", str(out), f"localhost:{site.port('dexar')}"],
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if not out.exists():
            raise CannotRun("testssl wrote no results")
        entries = json.loads(out.read_text())
    found = [entry for entry in entries if entry["severity"] in LEVELS and not entry["id"].startswith(EXPECTED)]
    result = f"{len(found)} findings of {len(entries)} results"
    if found:
        result += ": " + "; ".join(f"{entry['id']} ({entry['severity']}) {entry['finding'][:60]}" for entry in found[:4])
    table.add("scanners", "testssl.sh: dexar", result, "0 of severity LOW or above", not found)


def _schemathesis(site, table):
    examples = 3 if SHORT else 400
    for brand in BRANDS:
        with tempfile.TemporaryDirectory() as place:
            command = [BIN / "schemathesis", "run", f"{site.urls[brand]}/openapi.json", "--tls-verify", site.ca, "--no-color"]
            command += ["-n", str(examples), "--seed", "16", "--phases", "examples,coverage,fuzzing", "--request-timeout", "10"]
            if SHORT:
                command[-3] = "examples,fuzzing"
            # Watched while it runs: `tail -f` shows the progress.
            path, time_limit_s = site.results / f"schemathesis-{brand}.txt", 300 if SHORT else 3_600
            try:
                with path.open("w") as file:
                    done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, timeout=time_limit_s, check=False, cwd=place)
            except subprocess.TimeoutExpired:
                raise CannotRun(f"schemathesis did not finish within {time_limit_s} s; {path} has what it did") from None
        output = path.read_text()
        cases = re.search(r"([\d,]+) generated", output)
        if not cases:
            raise CannotRun(f"schemathesis: {output[-300:]}")
        failures = re.search(r"found ([\d,]+) unique failures?", output)
        number = int(failures.group(1).replace(",", "")) if failures else 0
        kinds = ", ".join(dict.fromkeys(re.findall(r"❌ (.+?): \d+", output)))
        result = f"{number} failures of {cases.group(1)} cases" + (f" ({kinds})" if kinds else "")
        held = done.returncode == 0 and number == 0
        table.add("scanners", f"schemathesis: {brand}", result, "0 failures", held)
