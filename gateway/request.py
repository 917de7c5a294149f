"""One request of a client and the answer to it, as a handler sees them; what goes over the wire as head and framing.

An answer that is there whole is one write; a stream's head leaves with its first bytes. Must not know how requests are parsed or
put in order: that is the connection's, seen from here as `Carrier`.
"""

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote

from httptools import parse_url

from gateway.memory import Memory
from gateway.upstreams.base import Headers, joined

MAX_AHEAD_BYTES = 64 * 1024
"""Of what nobody has asked for yet: the body of a request that may be refused, the requests behind it. Then reading pauses."""
_ONE_WRITE_BYTES = 64 * 1024
_BODILESS = (204, 304)


class Disconnected(Exception):
    """The client went away before its request was complete."""


class BodyTooLong(Exception):
    """The body is larger than its reader allows."""


class NoMemory(Exception):
    """All bodies together are larger than the process allows."""


class BodyTooSlow(Exception):
    """The client fell silent inside its body."""


class Carrier(Protocol):
    """The connection that a request came on."""

    @property
    def speaks_1_1(self) -> bool: ...

    @property
    def full(self) -> bool:
        """So much is written that more should wait for `room`."""

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The task that answers this connection's requests."""

    def is_last(self, request: "Request", /) -> bool:
        """Whether the connection ends with this request's answer."""

    def body_awaited(self, request: "Request", /) -> "asyncio.Future[None]":
        """Somebody waits for the body: to be resolved when there is news of it."""

    def send(self, data: bytes, /) -> None:
        """Write bytes; drop them where the client has gone."""

    async def room(self) -> None:
        """Wait until the client has read on, or is gone."""


class Request:
    """One request. Header names are in lower case; `path` is decoded, `query` is not.

    Answered either by `respond`, or by `begin`, any number of `write`, and `end`. What is written when the client has gone, or
    after the end, is dropped. `on_gone` is called once when the client leaves before the answer's end.
    """

    __slots__ = (
        "_body_bytes", "_chunked", "_connection", "_head", "_limit", "_memory", "_parts", "_waiter", "complete", "ended",
        "expects_100", "gone", "headers", "keep_alive", "method", "named", "on_gone", "path", "query", "started", "target",
    )  # fmt: skip

    def __init__(self, connection: Carrier) -> None:
        self._connection = connection
        self._parts: list[bytes] = []
        self._body_bytes = 0
        self._limit: int | None = None
        self._memory: Memory | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._head = b""
        self._chunked = False
        self.target = b""
        self.method = ""
        self.path = ""
        self.query = b""
        self.headers: Headers = ()
        self.named: dict[bytes, bytes] = {}
        """The first value of each header."""
        self.keep_alive = True
        self.expects_100 = False
        self.complete = False
        """The whole body has arrived."""
        self.started = False
        self.ended = False
        self.gone = False
        self.on_gone: Callable[[], None] | None = None

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The task in which the request is handled."""
        return self._connection.task

    # --- reading

    def whole_body(self, limit: int, memory: Memory) -> bytes | None:
        """As `body`, where it has arrived already in one piece and nothing need be waited for."""
        parts = self._parts
        if not self.complete or len(parts) != 1 or self._body_bytes > limit:
            return None
        self._limit = limit
        memory.taken_bytes += self._body_bytes
        return parts.pop()

    async def body(self, limit: int, memory: Memory | None = None) -> bytes:
        """The whole body, once; what it takes of `memory` is then the caller's to give back.

        Raises BodyTooLong and NoMemory as soon as that is known, BodyTooSlow, Disconnected.
        """
        self._limit = limit
        if memory is not None:
            self._memory = memory
            memory.taken_bytes += self._body_bytes
        if not self.complete or self._body_bytes > limit:
            try:
                await self._arrival(limit)
            except BaseException:
                self._drop()
                raise
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _arrival(self, limit: int) -> None:
        while not self.complete and self._body_bytes <= limit:
            if self.gone:
                raise Disconnected
            if self._memory is not None and self._memory.full:
                raise NoMemory
            self._waiter = self._connection.body_awaited(self)
            await self._waiter
        if self._body_bytes > limit:
            raise BodyTooLong

    def _drop(self) -> None:
        """What has come of a body that will not be read."""
        self._parts.clear()
        self._limit = None
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.taken_bytes -= self._body_bytes

    # --- answering

    def respond(self, status: int, lines: Headers, body: bytes) -> None:
        """The whole answer."""
        self.started = True
        bodiless = status in _BODILESS
        head = self._lines(status, lines, b"" if bodiless else b"content-length: %d\r\n" % len(body))
        if bodiless or self.method == "HEAD":
            self._send(head)
        elif len(body) <= _ONE_WRITE_BYTES:
            self._send(head + body)
        else:
            self._send(head)
            self._send(body)
        self.ended = True

    def begin(self, status: int, lines: Headers) -> None:
        """The head of an answer whose length is not known; it leaves with the first bytes of the body."""
        self.started = True
        self._chunked = self._connection.speaks_1_1 and status not in _BODILESS and self.method != "HEAD"
        if not self._chunked:
            self.keep_alive = self.keep_alive and self._connection.speaks_1_1
        self._head = self._lines(status, lines, b"transfer-encoding: chunked\r\n" if self._chunked else b"")

    def write(self, data: bytes) -> bool:
        """Bytes of the body that `begin` has begun; False where more should wait for `room`."""
        connection = self._connection
        if self._chunked:
            if data and not self.gone and not self.ended:
                if self._head:
                    data, self._head = b"%b%x\r\n%b\r\n" % (self._head, len(data), data), b""
                else:
                    data = b"%x\r\n%b\r\n" % (len(data), data)
                connection.send(data)
        elif not self._connection.speaks_1_1:  # its body ends with the connection
            self._send(self._head + data)
            self._head = b""
        return not connection.full

    def end(self, data: bytes = b"") -> None:
        """The answer's end; `data` are its last bytes."""
        if self._chunked:
            last = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            self._send(b"%b%b0\r\n\r\n" % (self._head, last))
        else:
            self.write(data)
            self._send(self._head)
        self._head = b""
        self.ended = True

    @property
    def full(self) -> bool:
        """So much is written that more should wait for `room`."""
        return self._connection.full

    async def room(self) -> None:
        """Wait until the client has read on, or is gone."""
        await self._connection.room()

    def _send(self, data: bytes) -> None:
        if data and not self.gone and not self.ended:
            self._connection.send(data)

    def _lines(self, status: int, lines: Headers, framing: bytes) -> bytes:
        """The answer's head. Raises ValueError where a line would be two."""
        closing = (b"connection", b"close")
        if closing in lines:
            self.keep_alive = False
        elif self._connection.is_last(self):
            lines = [*lines, closing]
        head = joined(lines)
        if head is None:
            raise ValueError("a header of this answer holds a line break")
        return b"".join((status_line(status), date_line(int(time.time())), framing, head, b"\r\n"))

    # --- for the connection

    def parsed(self, method: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """The head is complete. Raises HttpParserError for a target that is no URL."""
        self.method = method.decode("ascii")
        self.headers = headers
        self.named = named = dict(reversed(headers))
        self.expects_100 = b"expect" in named
        self.target, self.path, self.query = _read_target(self.target)

    def add(self, piece: bytes) -> None:
        """A piece of the body. What nobody will read is dropped."""
        self._body_bytes += len(piece)
        if self.ended:
            return
        self._parts.append(piece)
        if self._limit is None:
            return
        memory = self._memory
        if memory is not None:
            memory.taken_bytes += len(piece)
        if self._body_bytes > self._limit or (memory is not None and memory.full):
            self._wake()

    def completed(self) -> None:
        self.complete = True
        self._wake()

    @property
    def unclaimed_bytes(self) -> int:
        """Of the body, while nobody has asked for it."""
        return self._body_bytes if self._limit is None and not self.ended else 0

    @property
    def rest_is_small(self) -> bool:
        """What is still to come of the body is worth reading away, so that the connection can be kept."""
        length = self.named.get(b"content-length")
        return length is not None and not self.expects_100 and int(length) <= MAX_AHEAD_BYTES

    def fail(self, fault: Exception) -> bool:
        """The body will not come; False where nobody waits for it."""
        if self._waiter is None or self._waiter.done():
            return False
        self._waiter.set_exception(fault)
        return True

    def left(self) -> None:
        """The client is gone."""
        if self.gone:
            return
        self.gone = True
        self.fail(Disconnected())
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None and not self.ended:
            on_gone()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@lru_cache(maxsize=64)
def _read_target(target: bytes) -> tuple[bytes, str, bytes]:
    """The target without a host, its path decoded, its query. Raises HttpParserError where it is no URL."""
    if target.startswith(b"/") and b"%" not in target and b"#" not in target:
        plain, _, query = target.partition(b"?")
        return target, plain.decode("ascii"), query
    url = parse_url(target)
    path, query = url.path or b"/", url.query or b""
    if url.host is not None:  # the absolute form, as one speaks to proxies: it means the same
        target = path + (b"?" + query if query else b"")
    return target, unquote(path.decode("ascii")), query


@lru_cache(maxsize=1)
def date_line(second: int) -> bytes:
    return b"date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")


@lru_cache(maxsize=256)
def status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")
