"""The bench's command: `python -m loadtests.bench`, or `--quick` for ours beside nginx in a minute."""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from loadtests.bench import report
from loadtests.bench.goals import GOALS, NOT_MEASURED, row
from loadtests.bench.install import NotInstalled, debian
from loadtests.bench.processes import end
from loadtests.bench.rounds import Rig
from loadtests.bench.sections import SECTIONS, Findings, quick

WRK_PACKAGES = ("wrk", "libluajit-5.1-2", "libluajit-5.1-common")
RESULTS = Path("data/bench/results.json")


@contextlib.contextmanager
def model_server() -> Iterator[str]:
    """The mock upstream at work; its address without `/v1`."""
    argv = [sys.executable, "-m", "loadtests.bench.upstream"]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        end(server)


def say(text: str) -> None:
    """Progress: one line that is written over on a terminal, lines in a log."""
    on_terminal = sys.stderr.isatty()
    print(f"\r\033[K{text}" if on_terminal else text, end="" if on_terminal else "\n", file=sys.stderr, flush=True)


def machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_average": os.getloadavg(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="ours beside nginx, in about a minute")
    parser.add_argument("--only", choices=tuple(SECTIONS), action="append", help="one section; may be repeated")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--publish", type=Path, help="measure nothing: put the last run's figures into docs/BENCHMARKS.md"
    )
    given = parser.parse_args()
    if given.publish is not None:
        report.publish(given.publish, json.loads(given.out.read_text(encoding="utf-8")))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds: every process that was started is ended
    began, beginning = time.monotonic(), machine()
    findings = Findings()
    chosen = (quick,) if given.quick else tuple(SECTIONS[name] for name in given.only or SECTIONS)
    try:
        wrk = debian("wrk", WRK_PACKAGES).argv
    except NotInstalled as fault:
        sys.exit(f"wrk drives everything and cannot be had: {fault}")
    with model_server() as upstream:
        rig = Rig(wrk=wrk, upstream=upstream, say=say)
        for section in chosen:
            section(rig, findings)
    rows = [row(goal, findings.tables) for goal in GOALS]
    results = {
        "machine": beginning,
        "took_s": round(time.monotonic() - began),
        "versions": findings.versions,
        "goals": [asdict(row) for row in rows],
        "missing": findings.missing,
        "tables": findings.tables,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    say("")
    whole = chosen == tuple(SECTIONS.values())
    shown = [each for each in rows if whole or each.reached != NOT_MEASURED]
    print(report.text(findings.tables, shown, findings.missing))


if __name__ == "__main__":
    main()
