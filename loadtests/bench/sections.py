"""What is measured, section by section; each gives tables. A section starts its systems, measures them in rounds and ends them.

To add a section: a function that returns Tables and its line in SECTIONS.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.bench.install import NotInstalled
from loadtests.bench.judging import judged
from loadtests.bench.processes import NotStarted, memory_mb
from loadtests.bench.rounds import Load, Rig, Rounds, Window, interleaved
from loadtests.bench.streams import held
from loadtests.bench.systems import QUICK, SIZES, SYSTEMS, WAYS
from loadtests.bench.systems.base import Place, System, Target
from loadtests.bench.systems.direct import Direct
from loadtests.bench.systems.tutelage import Tutelage

ROUNDS = 4
PLAIN = Load(name="plain", connections=32, slow_connections=32)
STREAM = Load(name="stream", connections=32, slow_connections=4, events=50, gap_ms=1)
SHORT = Load(name="short", connections=32, seconds=1)
SHORT_ROUNDS = 11
"""Differences of a few percent: many short pairs tell more than a few long ones."""
STREAMS_HELD, SLOW_STREAMS_HELD = 1_000, 100
LATENCY_ROUNDS = {1: 5, 16: 2, 64: 2}
"""By connections."""
STREAM_ROUNDS = 3
LENGTHS = (50, 500, 5_000)


@dataclass(slots=True)
class Findings:
    """What has been measured so far, and what could not be, by name with the reason."""

    tables: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def put(self, table: str, rounds: Rounds, value: Callable[[Window], float]) -> None:
        """One series per system. A system whose requests failed has no figure, only the number of failures."""
        for system, windows in rounds.items():
            errors = sum(window.measured.errors for window in windows)
            if errors:
                total = sum(window.measured.requests for window in windows)
                self.missing[f"{table}, {system}"] = f"{errors} of {total} requests failed"
            else:
                self.tables.setdefault(table, {})[system] = [value(window) for window in windows]

    def note(self, table: str, system: str, value: float) -> None:
        """A figure that is taken once."""
        self.tables.setdefault(table, {})[system] = [value]


Section = Callable[[Rig, Findings], None]


@contextlib.contextmanager
def started(systems: Sequence[System], rig: Rig, findings: Findings) -> Iterator[list[Target]]:
    """Those of `systems` that can be had, at work. What cannot is named in the findings and does not hold up the others."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as stack:
        targets = []
        for number, system in enumerate(systems):
            place = Place(upstream=rig.upstream, folder=Path(folder) / str(number))
            place.folder.mkdir()
            rig.say(f"starting {system.name}")
            try:
                system.install()
                target = stack.enter_context(system.running(place))
            except (NotInstalled, NotStarted) as fault:
                findings.missing[system.name] = str(fault)
                continue
            findings.versions[system.name] = target.version
            targets.append(target)
        yield targets


def quick(rig: Rig, findings: Findings) -> None:
    """Ours and nginx: CPU and the times of a single client."""
    with started((Direct(), *QUICK), rig, findings) as targets:
        _cpu(rig, findings, targets[1:], rounds=3)
        _latency(rig, findings, targets, connections=1, rounds=3)


def peers(rig: Rig, findings: Findings) -> None:
    """Everybody, side by side."""
    with started((Direct(), *SYSTEMS), rig, findings) as targets:
        measured = targets[1:]
        for target in measured:
            findings.note("memory_mb idle", target.name, memory_mb(target.pid or 0))
            _held(rig, findings, target)  # before any load: memory that a load left free would hide what streams take
        _cpu(rig, findings, measured, rounds=ROUNDS)
        for connections, rounds in LATENCY_ROUNDS.items():
            _latency(rig, findings, targets, connections=connections, rounds=rounds)
        for target in measured:
            findings.note("memory_mb loaded", target.name, memory_mb(target.pid or 0))


def ways(rig: Rig, findings: Findings) -> None:
    """Ours, with more and more switched on."""
    with started(WAYS, rig, findings) as targets:
        findings.put("cpu_us by way, plain", interleaved(rig, targets, PLAIN, ROUNDS), lambda one: one.cpu_us)
        findings.put("cpu_us by way, stream", interleaved(rig, targets, STREAM, STREAM_ROUNDS), lambda one: one.cpu_us)


def sizes(rig: Rig, findings: Findings) -> None:
    """Ours, as configuration and streams grow."""
    with started(SIZES, rig, findings) as targets:
        findings.put("cpu_us by size", interleaved(rig, targets, SHORT, SHORT_ROUNDS), lambda one: one.cpu_us)
    with started((Tutelage(),), rig, findings) as targets:
        for length in LENGTHS if targets else ():
            # Streams of 5,000 take some eight seconds: what is cut off counts by the events that were sent.
            load = Load(name=f"{length:,} events", connections=8, seconds=6, events=length, gap_ms=1)
            rounds = interleaved(rig, targets, load, STREAM_ROUNDS)
            findings.put("cpu_us per event", {load.name: rounds[targets[0].name]}, lambda one: one.event_us)


def judging(rig: Rig, findings: Findings) -> None:
    """Ours, whole: gateway, control and worker, every pair judged."""
    try:
        for name, value in judged(rig).items():
            findings.note("cpu_us with shadow and judge", name, value)
    except NotStarted as fault:
        findings.missing["shadow and judge"] = str(fault)


SECTIONS: Mapping[str, Section] = {"peers": peers, "ways": ways, "sizes": sizes, "judging": judging}


def _cpu(rig: Rig, findings: Findings, targets: Sequence[Target], rounds: int) -> None:
    for load in (PLAIN, STREAM):
        windows = interleaved(rig, targets, load, rounds)
        findings.put(f"cpu_us {load.name}", windows, lambda one: one.cpu_us)
        findings.put(
            f"requests_per_s {load.name}", windows, lambda one: one.measured.requests / one.measured.wall_us * 1e6
        )


def _latency(rig: Rig, findings: Findings, targets: Sequence[Target], connections: int, rounds: int) -> None:
    load = Load(name=f"c={connections}", connections=connections)
    windows = interleaved(rig, targets, load, rounds)
    findings.put(f"p50_us {load.name}", windows, lambda one: float(one.measured.p50_us))
    findings.put(f"p90_us {load.name}", windows, lambda one: float(one.measured.p90_us))
    findings.put(f"p99_us {load.name}", windows, lambda one: float(one.measured.p99_us))


def _held(rig: Rig, findings: Findings, target: Target) -> None:
    wanted = STREAMS_HELD if target.patience == 1 else SLOW_STREAMS_HELD
    rig.say(f"{wanted} open streams, {target.name}")
    found = held(target, wanted)
    if found.streams < wanted:
        findings.missing[f"memory_kib per stream, {target.name}"] = (
            f"only {found.streams} of {wanted} streams were open"
        )
    if found.streams:
        findings.note("memory_kib per stream", target.name, found.kib_per_stream)
