"""Interleaved measurements: A B C … A B C …, so that whatever else the machine does meets every system alike.

A window is: load, then quiet, so that what a system does after its answer (capture, shadow) is counted too. Answers that are
half done when wrk stops count half: c/2 requests are added, which is right on average and matters for slow systems only.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.processes import cpu_s, settle
from loadtests.bench.systems.base import Target
from loadtests.bench.wrk import Ask, Measured, drive

USERS = 64
"""Sessions that take turns: a split by session serves both arms."""
SYSTEM_TEXT = "You route support tickets. Answer with one line: department, priority, and what to do next."
USER_TEXT = "Ticket 4411: I was charged twice in March, and nobody answers my mail. Please refund the second charge."
PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent. `events`: None for plain answers, else the events of each stream, `gap_ms` apart."""

    name: str
    connections: int
    seconds: int
    events: int | None = None
    gap_ms: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One system under one load once. `requests` counts halves of what was cut off; `cpu_us` is per request, None where
    there is no process to measure."""

    measured: Measured
    requests: float
    cpu_us: float | None


Rounds = Mapping[str, list[Window]]


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


def _body(model: str, load: Load) -> str:
    order = "" if load.events is None else f" chunks={load.events} gap_ms={load.gap_ms}"
    messages = [{"role": "system", "content": SYSTEM_TEXT}, {"role": "user", "content": USER_TEXT + order}]
    stream = {} if load.events is None else {"stream": True}
    return json.dumps({"model": model, "messages": messages, "temperature": 0, **stream}, separators=(",", ":"))


def window(wrk: Sequence[str], target: Target, load: Load) -> Window:
    """One measurement of `target`."""
    before = None if target.pid is None else cpu_s(target.pid)
    with tempfile.TemporaryDirectory() as folder:
        measured = drive(
            wrk,
            asks(target, load),
            url=target.url,
            connections=load.connections,
            seconds=load.seconds,
            folder=Path(folder),
        )
    requests = measured.requests + load.connections / 2
    if target.pid is None or before is None:
        return Window(measured=measured, requests=requests, cpu_us=None)
    settle(target.pid)
    return Window(measured=measured, requests=requests, cpu_us=(cpu_s(target.pid) - before) / requests * 1e6)


def interleaved(
    wrk: Sequence[str],
    targets: Sequence[Target],
    load: Load,
    rounds: int,
    say: Callable[[str], None],
) -> Rounds:
    """`rounds` windows of each target, in turns, after one round that warms up and does not count."""
    kept: dict[str, list[Window]] = {target.name: [] for target in targets}
    for turn in range(rounds + 1):
        for target in targets:
            say(f"{load.name}: round {turn} of {rounds}, {target.name}")
            one = window(wrk, target, load)
            if turn:
                kept[target.name].append(one)
    return kept
