"""Processes under test: started, waited for, ended; their CPU time and memory as /proc has them.

A process is measured with all its threads and descendants. CPU time is user + system; its resolution is a tick (10 ms), so
windows must be long. Must not know what the processes do.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

READY_S = 90.0
STOP_S = 15.0
POLL_S = 0.05
SETTLE_S = 20.0
QUIET_S = 0.2
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class NotStarted(RuntimeError):
    """A process ended or did not answer in time; the message ends with the tail of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What one line of /proc/PID/stat says. `ticks` include those of children that have ended and been waited for."""

    pid: int
    parent: int
    ticks: int


def parse_stat(line: str) -> Stat:
    """The second field, the name, may hold blanks and brackets: fields are counted from its last bracket."""
    fields = line[line.rindex(")") + 2 :].split()
    utime, stime, cutime, cstime = map(int, fields[11:15])
    return Stat(pid=int(line.split(" ", 1)[0]), parent=int(fields[1]), ticks=utime + stime + cutime + cstime)


def parse_rss_kib(status: str) -> int:
    """`VmRSS` of /proc/PID/status, in KiB; 0 for a process that has ended and is not yet waited for."""
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def descendants(stats: Sequence[Stat], root: int) -> tuple[Stat, ...]:
    """`root` and everything below it."""
    children: dict[int, list[Stat]] = {}
    for stat in stats:
        children.setdefault(stat.parent, []).append(stat)
    found = [stat for stat in stats if stat.pid == root]
    for stat in found:  # grows while it is walked
        found += children.get(stat.pid, [])
    return tuple(found)


def tree(root: int) -> tuple[Stat, ...]:
    """The processes of `root` now."""
    stats = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it ended between listing and reading
                stats.append(parse_stat((folder / "stat").read_text()))
    return descendants(stats, root)


def cpu_s(root: int) -> float:
    """CPU seconds of the tree since its start."""
    return sum(stat.ticks for stat in tree(root)) / _TICKS_PER_S


def memory_mb(root: int) -> float:
    """Resident memory of the tree. Pages that its processes share count once for each."""
    return sum(parse_rss_kib(Path(f"/proc/{stat.pid}/status").read_text()) for stat in tree(root)) / 1024


def settle(root: int) -> None:
    """Until the tree has used no tick for QUIET_S, or SETTLE_S are over."""
    deadline = time.monotonic() + SETTLE_S
    before = cpu_s(root)
    while time.monotonic() < deadline:
        time.sleep(QUIET_S)
        now = cpu_s(root)
        if now - before < 1.5 / _TICKS_PER_S:
            return
        before = now


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    *,
    log: Path,
    ready_url: str,
    environment: Mapping[str, str] | None = None,
    ready_s: float = READY_S,
) -> Iterator[int]:
    """Run `argv` until the block ends; yields its pid once `ready_url` answers below 500."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv, env=None if environment is None else {**os.environ, **environment},
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_ready(process, ready_url, log, ready_s)
        yield process.pid
    finally:
        end(process)


def _wait_ready(process: "subprocess.Popen[bytes]", url: str, log: Path, ready_s: float) -> None:
    deadline = time.monotonic() + ready_s
    with httpx.Client(timeout=2.0, trust_env=False) as http:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise NotStarted(f"{log.stem} ended with status {process.returncode}: {tail(log)}")
            with contextlib.suppress(httpx.HTTPError):
                if http.get(url).status_code < 500:
                    return
            time.sleep(POLL_S)
    raise NotStarted(f"{log.stem} did not answer at {url} within {ready_s:g} s: {tail(log)}")


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to end and wait; then end its whole group, whatever is left of it."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-1_500:].strip()
