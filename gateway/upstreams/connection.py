"""One socket to an upstream and its parser: an asyncio protocol over httptools.

It belongs to one reply (`reply.py`) at a time, then to its owner's idle connections.

Owns framing, deadlines of the answer and back-pressure. Must not know how connections are found or made: that is the pool's, seen
from here as `Owner`. Nothing here starts a task or a timer; the owner calls `expire` when `deadline_at` has passed.
"""

import asyncio
from math import inf
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.outbox import Outbox
from gateway.upstreams.base import Deadlines, Headers, ReplyBroken, TimedOut, UpstreamError
from gateway.upstreams.reply import HttpReply

MAX_HEAD_BYTES = 64 * 1024
"""Of a head, and of any run of bytes that brings no body: interim answers, chunk extensions, trailers."""

MAX_UNREAD_BYTES = 16 * 1024
"""Above this the socket is not read until the reader has taken what there is."""

READ_BYTES = 16 * 1024
"""Of one read: what a reply holds stays below both together. The event loop's own choice is 256 KiB."""

RACE_S = 1.0
"""An end that comes later than this after the request is no race between two ends of an idle connection: the server had the
request, and may have worked on it."""

_WITHOUT_DEADLINES = Deadlines()
_ENDED = HttpResponseParser(object())
"""In place of a closed connection's own, which holds the connection: both would wait for the collector, which comes seldom."""


class Unanswered(ReplyBroken):
    """The connection ended at once, before any byte of an answer: on a reused one the call may be sent again."""


class Unsent(Unanswered):
    """It had ended before the request was written."""


class Owner(Protocol):
    """Whose connection it is."""

    @property
    def upstream(self) -> str: ...

    @property
    def replica(self) -> str: ...

    @property
    def outbox(self) -> Outbox:
        """What its connections write through."""

    @property
    def read_buffer(self) -> memoryview:
        """READ_BYTES to read into. One for all: what was read is copied before anybody else reads."""

    def give_back(self, connection: "Connection") -> None:
        """`connection` is free for another call."""

    def forget(self, connection: "Connection") -> None:
        """`connection` is closed. Called once."""


class Connection(asyncio.BufferedProtocol):
    """One socket. `deadline_at` (the loop's time) is when `expire` is due."""

    __slots__ = (
        "_answered",
        "_barren_bytes",
        "_deadlines",
        "_headers",
        "_keep",
        "_loop",
        "_owner",
        "_parser",
        "_paused",
        "_reply",
        "_sent_at",
        "_total_at",
        "_transport",
        "_unsent",
        "_until_end",
        "closed",
        "deadline_at",
        "reused",
        "used",
    )

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._reply: HttpReply | None = None
        self._deadlines = _WITHOUT_DEADLINES
        self._total_at = inf
        self._sent_at = 0.0
        self._headers: list[tuple[bytes, bytes]] = []
        self._barren_bytes = 0
        self._unsent: tuple[bytes, ...] = ()
        """A request that goes out with the loop's next turn."""
        self._answered = False
        self._keep = True
        self._until_end = False
        self._paused = False
        self.used = False
        self.reused = False
        self.closed = False
        self.deadline_at = inf

    # --- for the owner

    def send(self, request: tuple[bytes, ...], deadlines: Deadlines, began: float) -> HttpReply:
        """Write `request` in the loop's next turn, and return its reply, whose head may have failed already. `began` is when
        the call did."""
        owner = self._owner
        reply = HttpReply(self, owner.upstream, owner.replica, self._loop)
        self.reused, self.used = self.used, True
        transport = self._transport
        if self.closed or transport is None or transport.is_closing():
            self.close()
            reply.fail(Unsent(reply.upstream, "the connection ended before the request was written"))
            return reply
        self._reply = reply
        self._deadlines = deadlines
        self._total_at = began + deadlines.total_s
        self._barren_bytes = 0
        self._answered = False
        self._await_first_token()
        self._unsent = request
        owner.outbox.put(self)
        return reply

    def now(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def expire(self, now: float) -> None:
        """A deadline has passed: nobody used the connection, or the reply is late."""
        reply = self._reply
        if reply is None:
            self.close()
        elif now >= self._total_at:
            self.fail(TimedOut(reply.upstream, "total", self._deadlines.total_s))
        elif reply.has_body:
            self.fail(TimedOut(reply.upstream, "idle", self._deadlines.idle_s))
        else:
            self.fail(TimedOut(reply.upstream, "first_token", self._deadlines.first_token_s))

    def fail(self, fault: UpstreamError) -> None:
        """The reply, if it is not there whole, ends with `fault`, and so does the connection."""
        if self._reply is not None:
            self._reply.fail(fault)
        self.close()

    def close(self) -> None:
        """At once, whatever is under way."""
        if self.closed:
            return
        self.closed = True
        self.deadline_at = inf
        if self._transport is not None:
            self._transport.abort()
        self._parser = _ENDED
        self._owner.forget(self)

    # --- for the outbox

    def flush(self) -> None:
        unsent, self._unsent = self._unsent, ()
        if self._transport is not None and not self.closed:
            for piece in unsent:
                self._transport.write(piece)

    # --- for the reply

    def taken(self) -> None:
        """The reader has taken everything that had arrived."""
        if self._paused and self._transport is not None and not self.closed:
            self._paused = False
            self.deadline_at = min(self._loop.time() + self._deadlines.idle_s, self._total_at)
            self._transport.resume_reading()

    def finish(self, reply: HttpReply) -> None:
        """`reply` is closed: free for another call where nothing of this one is left, else the end."""
        if reply is not self._reply:
            return
        self._reply = None
        transport = self._transport
        clean = reply.complete and self._keep and not self.closed and not self._unsent
        if clean and transport is not None and not transport.get_write_buffer_size():
            if self._paused:
                self._paused = False
                transport.resume_reading()
            self._owner.give_back(self)
        else:
            self.close()

    # --- asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.closed:
            self._transport.abort()

    def get_buffer(self, _: int) -> memoryview:
        return self._owner.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self._owner.read_buffer[:nbytes]
        reply = self._reply
        if reply is None or reply.complete:
            self._keep = False  # bytes that nobody asked for
            if reply is None:
                self.close()
            return
        self._answered = True
        self._barren_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as fault:
            self._keep = False
            self.fail(ReplyBroken(reply.upstream, f"no HTTP/1.1: {fault}"))
            return
        if self._barren_bytes > MAX_HEAD_BYTES:
            self.fail(ReplyBroken(reply.upstream, f"more than {MAX_HEAD_BYTES} bytes of head or framing"))
            return
        reply.wake()
        self._rearm(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        reply = self._reply
        self._keep = False
        if reply is not None and not reply.complete:
            self._end_early(reply, exc)
        self.close()

    def pause_writing(self) -> None:
        """The request is still on its way: the first token is not due yet."""
        if self._reply is not None and not self._answered:
            self.deadline_at = self._total_at

    def resume_writing(self) -> None:
        if self._reply is not None and not self._answered:
            self._await_first_token()

    def _await_first_token(self) -> None:
        self._sent_at = self._loop.time()
        self.deadline_at = min(self._sent_at + self._deadlines.first_token_s, self._total_at)

    def _rearm(self, reply: HttpReply) -> None:
        """After news: the next deadline, and whether to go on reading."""
        if reply.complete:
            self.deadline_at = inf
        elif reply.full or reply.unread_bytes > MAX_UNREAD_BYTES:
            self.deadline_at = self._total_at
            if not self._paused and self._transport is not None and not self.closed:
                self._paused = True
                self._transport.pause_reading()
        elif not self._barren_bytes:  # a piece has come
            idle_at, total_at = self._loop.time() + self._deadlines.idle_s, self._total_at
            self.deadline_at = min(total_at, idle_at)

    def _end_early(self, reply: HttpReply, exc: Exception | None) -> None:
        if self._until_end and exc is None:
            reply.complete = True
            reply.wake()
        elif self._unsent:
            reply.fail(Unsent(reply.upstream, "the connection ended before the request was written"))
        elif not self._answered and self._loop.time() - self._sent_at <= RACE_S:
            reply.fail(Unanswered(reply.upstream, f"the connection ended before the reply{_why(exc)}"))
        else:
            where = "inside" if self._answered else "before"
            reply.fail(ReplyBroken(reply.upstream, f"the connection ended {where} the reply{_why(exc)}"))

    # --- httptools'

    def on_message_begin(self) -> None:
        reply = self._reply
        if reply is not None and reply.complete:
            self._keep = False  # a second answer to one call
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        reply = self._reply
        if reply is None or reply.complete:
            return
        if self._barren_bytes > MAX_HEAD_BYTES and _size(self._headers) > MAX_HEAD_BYTES:
            raise ValueError(f"a head of more than {MAX_HEAD_BYTES} bytes")
        status = self._parser.get_status_code()
        if status < 200:
            return  # an interim answer; the next head replaces it
        reply.headers = self._headers
        reply.status = status
        self._headers = []  # what comes now are trailers
        if not self._parser.should_keep_alive():
            self._keep = False
            self._until_end = not any(_frames(name, value) for name, value in reply.headers)

    def on_body(self, body: bytes) -> None:
        reply = self._reply
        if reply is not None and not reply.complete:
            self._barren_bytes = 0
            reply.add(body)

    def on_message_complete(self) -> None:
        reply = self._reply
        if reply is not None and reply.status:
            reply.complete = True


def _size(headers: Headers) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _frames(name: bytes, value: bytes) -> bool:
    """Whether this header says where the body ends; without one it ends with the connection."""
    return name == b"content-length" or (name == b"transfer-encoding" and value.lower().rstrip().endswith(b"chunked"))


def _why(exc: Exception | None) -> str:
    return f": {exc}" if exc is not None else ""
