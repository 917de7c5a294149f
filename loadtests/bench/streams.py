"""Memory per open stream: many streams that have begun, said fifty events and now wait; the tree's memory with and without them.

A client of its own, because wrk counts answers that end. Must not know what it holds streams of.
"""

import asyncio
import contextlib
from dataclasses import dataclass

from loadtests.bench.processes import memory_mb
from loadtests.bench.rounds import Load, asks
from loadtests.bench.systems.base import Target

EVENTS = 50
OPENING = 32
"""Streams that are being opened at once."""
OPEN_S = 60.0
_ANSWERED = b"HTTP/1.1 200"
_HELD = Load(name="held streams", connections=1, events=EVENTS, gap_ms=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Memory before and with `streams` open; fewer than were asked for where the system refused some."""

    streams: int
    before_mb: float
    with_mb: float

    @property
    def kib_per_stream(self) -> float:
        return (self.with_mb - self.before_mb) * 1024 / max(1, self.streams)


def held(target: Target, count: int) -> Held:
    """Open `count` streams on `target` and weigh it."""
    if target.pid is None:
        raise ValueError(f"{target.name} has no process to weigh")
    return asyncio.run(_held(target, target.pid, count))


async def _held(target: Target, pid: int, count: int) -> Held:
    before_mb = memory_mb(pid)
    slots = asyncio.Semaphore(OPENING)
    writers: list[asyncio.StreamWriter] = []
    begun: list[int] = []
    prepared = asks(target, _HELD)
    host, _, port = target.url.removeprefix("http://").partition(":")

    async def begin(turn: int) -> None:
        ask = prepared[turn % len(prepared)]
        body = ask.body.replace(f"gap_ms={_HELD.gap_ms}", f"gap_ms={_HELD.gap_ms} then=hold").encode()
        lines = [f"POST {ask.path} HTTP/1.1", f"host: {host}:{port}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in ask.headers]
        async with slots:
            reader, writer = await asyncio.open_connection(host, int(port))
            writers.append(writer)
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            seen = b""
            while seen.count(b"data:") < EVENTS:
                more = await reader.read(65_536)
                seen += more
                if not more or not seen.startswith(_ANSWERED[: len(seen)]):
                    return
            begun.append(turn)

    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_S):
                await asyncio.gather(*(begin(turn) for turn in range(count)))
        return Held(streams=len(begun), before_mb=before_mb, with_mb=memory_mb(pid))
    finally:
        for writer in writers:
            writer.transport.abort()
