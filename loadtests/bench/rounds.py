"""Interleaved measurements: A B C … A B C …, so that whatever else the machine does meets every system alike.

A window is: load, then quiet, so that what a system does after its answers (capture, shadow) is counted too. Answers that are
half done when wrk stops count half: c/2 requests are added, which is right on average and matters for slow systems only.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtests.bench.processes import cpu_s, settle
from loadtests.bench.systems.base import Target
from loadtests.bench.wrk import Ask, Measured, drive

USERS = 64
"""Sessions that take turns: a split by session serves both arms."""
SYSTEM_TEXT = "You route support tickets. Answer with one line: department, priority, and what to do next."
USER_TEXT = "Ticket 4411: I was charged twice in March, and nobody answers my mail. Please refund the second charge."
PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """What measures: wrk's command, the model server's address, and where progress is told."""

    wrk: tuple[str, ...]
    upstream: str
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent, and over how many connections. Plain answers after `gap_ms`, or streams of `events`, `gap_ms` apart.

    With `slow_connections` a system that needs patience is asked for longer over fewer connections: over as many as the
    others, most of its answers would be cut off when the load ends.
    """

    name: str
    connections: int
    slow_connections: int | None = None
    seconds: int = 2
    events: int = 0
    gap_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One system under one load once. `requests` counts halves of what was cut off, `events` what the model server streamed;
    `cpu_s` is None where there is no process to measure."""

    measured: Measured
    requests: float
    events: int
    cpu_s: float | None

    @property
    def cpu_us(self) -> float:
        """CPU per request."""
        return (self.cpu_s or 0.0) / self.requests * 1e6

    @property
    def event_us(self) -> float:
        """CPU per event."""
        return (self.cpu_s or 0.0) / max(1, self.events) * 1e6


Rounds = Mapping[str, Sequence[Window]]


def asks(target: Target, load: Load) -> tuple[Ask, ...]:
    """The prepared requests: sessions, keys and models take turns."""
    count = max(USERS, len(target.keys), len(target.models))
    return tuple(
        Ask(
            path=PATH,
            headers=(
                ("content-type", "application/json"),
                ("authorization", f"Bearer {target.keys[turn % len(target.keys)]}"),
                ("x-tutelage-session", f"s-{turn % USERS}"),
                *target.headers,
            ),
            body=_body(target.models[turn % len(target.models)], load),
        )
        for turn in range(count)
    )


def window(rig: Rig, target: Target, load: Load) -> Window:
    """One measurement of `target`."""
    cpu_before = None if target.pid is None else cpu_s(target.pid)
    events_before = _events(rig)
    connections, seconds = load.connections, load.seconds
    if target.patience > 1 and load.slow_connections is not None:
        connections, seconds = load.slow_connections, load.seconds * target.patience
    with tempfile.TemporaryDirectory() as folder:
        measured = drive(
            rig.wrk,
            asks(target, load),
            url=target.url,
            connections=connections,
            seconds=seconds,
            folder=Path(folder),
        )
    if target.pid is not None:
        settle(target.pid)
    return Window(
        measured=measured,
        requests=measured.requests + connections / 2,
        events=_events(rig) - events_before,
        cpu_s=None if target.pid is None or cpu_before is None else cpu_s(target.pid) - cpu_before,
    )


def interleaved(rig: Rig, targets: Sequence[Target], load: Load, rounds: int) -> Rounds:
    """`rounds` windows of each target, in turns, after one round that warms up and does not count."""
    kept: dict[str, list[Window]] = {target.name: [] for target in targets}
    for turn in range(rounds + 1):
        for target in targets:
            rig.say(f"{load.name}: round {turn} of {rounds}, {target.name}")
            one = window(rig, target, load)
            if turn:
                kept[target.name].append(one)
    return kept


def _body(model: str, load: Load) -> str:
    order = f" chunks={load.events} gap_ms={load.gap_ms}" if load.events or load.gap_ms else ""
    messages = [{"role": "system", "content": SYSTEM_TEXT}, {"role": "user", "content": USER_TEXT + order}]
    stream = {"stream": True} if load.events else {}
    return json.dumps({"model": model, "messages": messages, "temperature": 0, **stream}, separators=(",", ":"))


def _events(rig: Rig) -> int:
    counted: int = httpx.get(f"{rig.upstream}/stats", trust_env=False).json()["events"]
    return counted
