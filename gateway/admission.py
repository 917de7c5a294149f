"""Admission: how many requests may be open at once, how fast new ones may come, how large one may be.

What is beyond is refused at once. When it gets tight, what is optional goes first: shadow calls and judges (`gateway.pressure`).
Keeps the list of open requests, so that a drain can wait for them and cut what is late. Must not know what a request asks.
"""

import asyncio
from collections.abc import Mapping
from enum import Enum, auto
from typing import Protocol

from gateway.errors import BadRequest, Draining, Overloaded, Refusal, TooLarge, WrongEncoding
from gateway.memory import Memory
from gateway.pressure import Pressure
from gateway.request import BodyTooLong, BodyTooSlow, NoMemory, Request

ROOMY = 0.8
"""Above this part of the open requests that are allowed, the optional is turned away."""


class Priority(Enum):
    """Who is turned away first: LOW are judges."""

    NORMAL = auto()
    LOW = auto()


NORMAL, LOW = Priority.NORMAL, Priority.LOW


class Open(Protocol):
    """A request under way."""

    def cut(self) -> None:
        """End it now: the process shuts down."""


class Admission:
    """The bounds of one process: `streams` requests at once, bodies up to `request_bytes`, `memory` for all. For one loop."""

    def __init__(self, *, streams: int, request_bytes: int, pressure: Pressure, memory: Memory) -> None:
        self._streams = streams
        self._roomy = max(1, int(streams * ROOMY))
        self._pressure = pressure
        self.memory = memory
        self._request_bytes = request_bytes
        self._open: set[Open] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False
        """New answers say `connection: close`; what comes on open connections is still served."""
        self._refusing = False

    @property
    def open(self) -> int:
        """Requests under way."""
        return len(self._open)

    @property
    def shedding(self) -> bool:
        """Whether what is optional must wait: no new shadow calls, no judges."""
        return len(self._open) > self._roomy or self._pressure.shedding or self.memory.tight

    def enter(self, request: Open, priority: Priority = NORMAL) -> None:
        """Raises Overloaded or Draining; afterwards `leave` must be called once."""
        if self._refusing:
            raise Draining
        if len(self._open) >= self._streams or self.memory.full or (priority is LOW and self.shedding):
            raise Overloaded
        if not self._pressure.admit():
            raise Overloaded
        self._open.add(request)
        self._empty.clear()

    def leave(self, request: Open) -> None:
        self._open.discard(request)
        if not self._open:
            self._empty.set()

    async def drain(self, deadline_s: float, cut_s: float) -> int:
        """Wait for the open requests up to the deadline, then cut the rest and give them `cut_s` to say so; how many were cut."""
        self.draining = True
        if await self._emptied(deadline_s):
            self._refusing = True
            return 0
        self._refusing = True
        late = tuple(self._open)
        for request in late:
            request.cut()
        await self._emptied(cut_s)
        return len(late)

    async def _emptied(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def read_at_once(self, request: Request) -> bytes | None:
        """As `read`, for a body that is there already; None where it must be waited for."""
        _check(request.named, self._request_bytes)
        return request.whole_body(self._request_bytes, self.memory)

    async def read(self, request: Request) -> bytes:
        """The request's body, counted in `memory`: who reads gives it back.

        Raises TooLarge and Overloaded as soon as that is known, Disconnected where the client left.
        """
        return await self.read_within(request, self._request_bytes)

    async def read_within(self, request: Request, limit_bytes: int) -> bytes:
        """A body of at most `limit_bytes`. As `read`."""
        _check(request.named, limit_bytes)
        try:
            return await request.body(limit_bytes, self.memory)
        except BodyTooLong:
            raise TooLarge(limit_bytes) from None
        except NoMemory:
            raise Overloaded from None
        except BodyTooSlow:
            raise _late() from None


def _check(named: Mapping[bytes, bytes], limit_bytes: int) -> None:
    """What the head alone tells."""
    encoding = named.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
        raise WrongEncoding("Compressed request bodies are not read; send the request without Content-Encoding.")
    coding = named.get(b"transfer-encoding")
    if coding is not None and coding.strip().lower() != b"chunked":
        raise WrongEncoding("Of transfer codings only `chunked` is read.")
    length = named.get(b"content-length")
    if length is not None and length.isdigit() and int(length[:20]) > limit_bytes:
        raise TooLarge(limit_bytes)


def require_json(named: Mapping[bytes, bytes]) -> None:
    """Raises WrongEncoding where a body says that it is something else."""
    kind = named.get(b"content-type")
    if kind is not None and kind != b"application/json" and b"json" not in kind.lower():
        refusal = WrongEncoding("Send the request as JSON, with `Content-Type: application/json`.")
        refusal.code = "unsupported_content_type"
        raise refusal


def _late() -> Refusal:
    refusal = BadRequest("The rest of the request did not come in time.", code="request_incomplete")
    refusal.headers = ((b"connection", b"close"),)
    return refusal
