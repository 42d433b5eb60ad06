"""Runs the scenarios one after another and prints the table. run.sh has started the site; its parameters are environment variables."""

import os
import subprocess
import sys
import time
import traceback

import flood
import memory
import scanners
import silence
from site_under_test import LIMIT_MB, SHORT, CannotRun, Site, Table, say

SCENARIOS = {
    "unread": memory.unread,
    "bodies": flood.bodies,
    "references": memory.references,
    "sockets": flood.sockets,
    "silence": silence.silence,
    "strangers": flood.strangers,
    "curl": flood.curl,
    "overload": flood.overload,
    "scanners": scanners.scanners,
}


def main():
    selected = [name for name in os.environ["ONLY"].split(",") if name] or list(SCENARIOS)
    site, table, failed = Site(), Table(), []
    for name in selected:
        started = time.monotonic()
        say(name)
        try:
            site.restart()
            SCENARIOS[name](site, table)
        except (CannotRun, OSError, subprocess.SubprocessError, ValueError, LookupError) as error:
            if not isinstance(error, CannotRun):
                traceback.print_exc()
            failed.append(name)
            table.add(name, "the scenario", f"could not be run: {error}")
        say(f"  {time.monotonic() - started:.0f} s")
    version = subprocess.run([os.environ["TORTURE_BINARY"], "--version"], capture_output=True, text=True, check=False).stdout.strip()
    text = f"{version}; gateway limited to {LIMIT_MB} MB by {os.environ['TORTURE_LIMITED_BY']}; {os.cpu_count()} cores"
    text += (", SHORT=1" if SHORT else "") + f"\n\n{table.markdown()}"
    (site.results / "results.md").write_text(text)
    print(text, flush=True)
    if failed:
        sys.exit(f"torture: could not be run: {', '.join(failed)}")


main()
