"""Where ours spends its time, by thread and function: `make bench PROFILE=1`, or `python -m loadtests.bench.profile [--stream]`.

wrk keeps one gateway process busy; py-spy samples its Python stacks and /proc says what each thread cost. A function's µs per
request are its share of its thread's samples times the thread's CPU: samples count time, so under a load that leaves a
thread idle they overstate where it waits (`run` of the event loop, the spool's pauses). What C code does, the event loop
and system calls among it, stands under the Python function that called it.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.bench.__main__ import WRK_PACKAGES, model_server, say
from loadtests.bench.install import debian, python
from loadtests.bench.rounds import Rig, asks
from loadtests.bench.sections import PLAIN, STREAM, Findings, started
from loadtests.bench.systems.tutelage import Tutelage
from loadtests.bench.wrk import Measured, drive

PY_SPY = "py-spy==0.4.2"
WARM_S, SAMPLED_S = 2, 8
SAMPLES_PER_S = 200
SHOWN = 30
_THREAD = re.compile(r"thread \((\d+)\): (.*)")
_LINE = re.compile(r":\d+\)$")


@dataclass(slots=True)
class Thread:
    """Samples of one thread: in all, with the function on top, and with it anywhere in the stack."""

    name: str
    samples: int = 0
    own: Counter[str] = field(default_factory=Counter)
    within: Counter[str] = field(default_factory=Counter)


def parse(raw: Iterable[str]) -> Mapping[int, Thread]:
    """py-spy's raw format, one stack a line (`thread (ID): NAME;frame;…;frame COUNT`), by thread id."""
    threads: dict[int, Thread] = {}
    for line in raw:
        stack, _, count = line.rpartition(" ")
        first, *frames = stack.split(";")
        named = _THREAD.match(first)
        if named is None or not frames:
            continue
        thread = threads.setdefault(int(named[1]), Thread(name=named[2]))
        functions = [_LINE.sub(")", frame) for frame in frames]
        thread.samples += int(count)
        thread.own[functions[-1]] += int(count)
        for function in set(functions):
            thread.within[function] += int(count)
    return threads


def text(threads: Mapping[int, Thread], cpu_s: Mapping[int, float], requests: float) -> str:
    """Threads by cost, and the functions of each, in µs per request."""
    lines = []
    for tid in sorted(threads, key=lambda each: -cpu_s.get(each, 0.0)):
        thread, cost_us = threads[tid], cpu_s.get(tid, 0.0) / requests * 1e6
        if cost_us < 1:
            continue
        lines.append(f"\n{thread.name}: {cost_us:.0f} µs of CPU per request")
        for title, counts in (("by itself", thread.own), ("with what it calls", thread.within)):
            lines.append(f"  {title}")
            lines += [f"  {n / thread.samples * cost_us:8.1f}  {name}" for name, n in counts.most_common(SHOWN)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stream", action="store_true", help="streams of 50 events instead of plain answers")
    load = STREAM if parser.parse_args().stream else PLAIN
    py_spy = python("py-spy", PY_SPY).parent / "py-spy"
    findings = Findings()
    with model_server() as upstream, tempfile.TemporaryDirectory() as place:
        rig = Rig(wrk=debian("wrk", WRK_PACKAGES).argv, upstream=upstream, say=say)
        with started((Tutelage(),), rig, findings) as targets:
            if not targets:
                sys.exit(f"{findings.missing}")
            target, folder = targets[0], Path(place)
            measured: list[Measured] = []
            seconds = WARM_S + SAMPLED_S + 2

            def press() -> None:
                wanted = asks(target, load)
                connections = load.connections
                measured.append(
                    drive(rig.wrk, wanted, url=target.url, connections=connections, seconds=seconds, folder=folder)
                )

            pressing = threading.Thread(target=press)
            pressing.start()
            time.sleep(WARM_S)
            before = _cpu_s(target.pid or 0)
            raw = folder / "raw.txt"
            command = [str(py_spy), "record", "--pid", str(target.pid), "--duration", str(SAMPLED_S), "--threads"]
            options = ["--rate", str(SAMPLES_PER_S), "--format", "raw", "--output", str(raw)]
            sampled = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
            after = _cpu_s(target.pid or 0)
            pressing.join()
            if not raw.exists():
                sys.exit(f"py-spy sampled nothing: {sampled.stderr.strip()[-400:]}")
            requests = measured[0].requests * SAMPLED_S / seconds
            spent = {tid: after[tid] - before.get(tid, 0.0) for tid in after}
            say("")
            print(f"{load.name}: {measured[0].requests / seconds:,.0f} requests/s while sampled")
            print(text(parse(raw.read_text().splitlines()), spent, requests))


def _cpu_s(pid: int) -> Mapping[int, float]:
    """CPU seconds of each thread, in nanoseconds' resolution."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {int(task.name): int((task / "schedstat").read_text().split()[0]) / 1e9 for task in tasks}


if __name__ == "__main__":
    main()
