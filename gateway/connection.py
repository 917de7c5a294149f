"""One client's connection: HTTP/1.1 over httptools within bounds, and the requests on it in order.

Parsing is llhttp's, strict: conflicting lengths and encodings, bad chunks and odd lines are a 400 and the end of the connection.
A request is handed to the owner when its head is there, whether or not its body is, so that it can be refused early; the
next one when its answer is given. What a client sends behind a request that is not answered yet stays unparsed, so that its
hang-up is seen at once; where that is so much that reading pauses, the system is asked. Nothing here starts a timer: the owner
calls `expire` when `deadline_at` has passed.

Must not know what is served, or how an answer looks: that is `gateway/request.py`.
"""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from gateway.errors import INVALID_REQUEST, envelope
from gateway.outbox import Outbox
from gateway.request import MAX_AHEAD_BYTES, BodyTooSlow, Request, date_line, status_line

MAX_HEAD_BYTES = 64 * 1024
"""Of a head, and of any run of bytes that brings no body: chunk extensions, trailers."""
MAX_HEADERS = 200
MAX_WAITING = 64
"""Requests that one read may bring behind the one that is being answered."""
HEAD_S = 20.0
"""How long a connection may take to send a request's head."""
BODY_IDLE_S = 30.0
"""How long a client may be silent inside its own request."""
KEEP_ALIVE_S = 75.0
LOOK_S = 0.25
"""How often the system is asked for the hang-up of a client that is not read, while it is being answered. It knows where all
that was sent has fitted into its buffers."""
LINGER_S = 10.0
"""How long what is left of a refused request is read away, so that the client sees the refusal and not a reset."""
LINGER_BYTES = 64 * 1024 * 1024
"""And how much of it: a body that is too large by little ends well also for those who read nothing while they write. A
client that reads while it writes has seen the refusal long before; for others it ends as a reset."""
AT_ONCE_BYTES = 16 * 1024
"""What is longer than this together is written at once: then it is known at once whether its reader keeps up."""
UNREAD_BYTES = 256 * 1024
"""What the system may hold of a client that is not read: a fast sender has been given up to 32 MB by then."""
_ASKED = hasattr(socket, "TCP_INFO")
_LEFT = (7, 8)
"""CLOSE and CLOSE_WAIT, as Linux's TCP_INFO begins."""

Line = tuple[bytes, bytes]

_ENDED = HttpRequestParser(object())
"""In place of a lost connection's own, which holds the connection: both would wait for the collector, which comes seldom."""


class BadHead(ValueError):
    """Raised inside the parser: becomes a 400 and the end of the connection."""


class Owner(Protocol):
    """Whose connection it is: the server."""

    @property
    def closing(self) -> bool:
        """Answers from now on are the last ones of their connections."""

    @property
    def outbox(self) -> Outbox:
        """What its connections write through."""

    @property
    def handle(self) -> Callable[[Request], Awaitable[None]]:
        """Answers one request. It raises nothing."""

    def opened(self, connection: "Connection", /) -> None: ...

    def lost(self, connection: "Connection", /) -> None: ...


class Connection(asyncio.Protocol):
    """One client. `deadline_at` (the loop's time) is when `expire` is due."""

    __slots__ = (
        "_ahead", "_asleep", "_barren_bytes", "_headers", "_in_head", "_incoming", "_loop", "_owner", "_parser", "_paused",
        "_requests", "_resumed", "_spent", "_task", "_transport", "_unsent", "_unsent_bytes", "_wasted_bytes", "deadline_at",
        "full", "speaks_1_1",
    )  # fmt: skip

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._parser = HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._requests: deque[Request] = deque()
        """In order; the first one is being answered."""
        self._incoming: Request | None = None
        """The one that is being received."""
        self._task: asyncio.Task[None] | None = None
        self._asleep: asyncio.Future[None] | None = None
        """What the task waits for while there is no request."""
        self._headers: list[Line] = []
        self._ahead = bytearray()
        self._barren_bytes = 0
        self._wasted_bytes = 0
        self._in_head = False
        self._paused = False
        self._spent = False
        """The last answer is given: nothing that still comes is read."""
        self._resumed: asyncio.Future[None] | None = None
        self._unsent: list[bytes] = []
        """What goes out with the loop's next turn."""
        self._unsent_bytes = 0
        self.full = False
        self.speaks_1_1 = True
        self.deadline_at = inf

    # --- for the owner

    @property
    def idle(self) -> bool:
        """No request is open, in whatever part."""
        return not self._requests and self._incoming is None

    def expire(self) -> None:
        """`deadline_at` has passed: a body is late that somebody waits for, or nothing is worth waiting for."""
        self.deadline_at = inf
        if self._paused and not self._spent and not self._left():
            self.deadline_at = self._loop.time() + LOOK_S
            return
        incoming = self._incoming
        if incoming is None or not incoming.fail(BodyTooSlow()):
            self.kill()

    def close(self) -> None:
        """End the connection once what was written has left, within KEEP_ALIVE_S."""
        self._spent = True
        self.deadline_at = self._loop.time() + KEEP_ALIVE_S
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def kill(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # --- for requests

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """What answers the requests, one after the other; for one that is being answered never None."""
        return self._task

    def is_last(self, request: Request) -> bool:
        """Whether the connection ends with this request's answer."""
        if self._owner.closing or not (request.complete or request.rest_is_small):
            request.keep_alive = False
        return not request.keep_alive

    def body_awaited(self, request: Request) -> "asyncio.Future[None]":
        """The reader of `request` waits for its body: go on reading."""
        if request.expects_100:
            request.expects_100 = False
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.deadline_at = self._loop.time() + BODY_IDLE_S
        self._resume()
        return self._loop.create_future()

    def send(self, data: bytes) -> None:
        """Write `data`, with what others write in this turn of the loop; drop it where the client has gone."""
        if self._transport is None:
            return
        unsent = self._unsent
        unsent.append(data)
        self._unsent_bytes += len(data)
        if self._unsent_bytes > AT_ONCE_BYTES:
            self.flush()
        elif len(unsent) == 1:
            self._owner.outbox.put(self)

    async def room(self) -> None:
        if self.full:
            self._resumed = self._loop.create_future()
            await self._resumed

    # --- for the outbox

    def flush(self) -> None:
        unsent = self._unsent
        if not unsent or self._transport is None:
            return
        self._unsent, self._unsent_bytes = [], 0
        if len(unsent) == 1:
            self._transport.write(unsent[0])
        else:
            self._transport.writelines(unsent)

    # --- asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.deadline_at = self._loop.time() + HEAD_S
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._unsent.clear()
        self._spent = True
        self.deadline_at = inf
        self._ahead.clear()
        self._parser = _ENDED
        for request in self._requests:
            request.left()
        self.resume_writing()
        self._wake()
        if self._task is None:
            self._owner.lost(self)

    def eof_received(self) -> None:
        """A client that has closed its side has left; asyncio closes the rest."""

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._spent:
            self._waste(len(data))
        elif self._requests and self._incoming is None:  # behind a request that is not answered yet
            self._ahead += data
            if len(self._ahead) > MAX_AHEAD_BYTES:
                self._wait()
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        self._barren_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
        except HttpParserError:
            self._refuse("The request is not valid HTTP/1.1, or its head is too large.")
            return
        incoming = self._incoming
        if incoming is None:
            return
        if self._barren_bytes > MAX_HEAD_BYTES or len(self._headers) > MAX_HEADERS:
            self._refuse("The request's head is too large.")
        elif self._in_head:
            if not self._requests:
                self.deadline_at = min(self.deadline_at, self._loop.time() + HEAD_S)
        elif incoming.unclaimed_bytes > MAX_AHEAD_BYTES:
            self._wait()
        elif self.deadline_at != inf:
            self.deadline_at = self._loop.time() + BODY_IDLE_S

    # --- httptools'

    def on_message_begin(self) -> None:
        self._in_head = True
        self._headers = []
        self._incoming = Request(self)

    def on_url(self, url: bytes) -> None:
        if self._incoming is not None:
            self._incoming.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        request, headers, parser = self._incoming, self._headers, self._parser
        if request is None:
            return
        method = parser.get_method()
        large = self._barren_bytes > MAX_HEAD_BYTES and _size(request.target, headers) > MAX_HEAD_BYTES
        if large or len(headers) > MAX_HEADERS or method == b"CONNECT":
            raise BadHead
        request.parsed(method, headers)
        request.keep_alive = parser.should_keep_alive()
        if not request.keep_alive or b"connection" in request.named:
            self.speaks_1_1 = parser.get_http_version() not in ("0.9", "1.0")
            request.keep_alive = request.keep_alive and self.speaks_1_1
            request.expects_100 = request.expects_100 and self.speaks_1_1
        self._headers = []  # what comes now are trailers
        self._in_head = False
        self.deadline_at = inf
        self._requests.append(request)
        if self._task is None:
            self._task = self._loop.create_task(self._serve())
        elif self._asleep is not None:
            self._wake()
        elif len(self._requests) > MAX_WAITING:
            raise BadHead

    def on_body(self, body: bytes) -> None:
        self._barren_bytes = 0
        if self._incoming is not None:
            self._incoming.add(body)

    def on_message_complete(self) -> None:
        if self._headers and _size(b"", self._headers) > MAX_HEAD_BYTES:
            raise BadHead  # trailers
        request, self._incoming = self._incoming, None
        self._barren_bytes = 0
        self._headers = []
        if request is not None:
            request.completed()
            self.deadline_at = inf if self._requests else self._loop.time() + KEEP_ALIVE_S

    # --- in order

    async def _serve(self) -> None:
        """One request after the other, as long as the connection lasts: to wake a task costs less than to make one."""
        requests = self._requests
        try:
            while not self._spent:
                if not requests:
                    self._asleep = self._loop.create_future()
                    await self._asleep
                    continue
                await self._owner.handle(requests[0])
                if not requests[0].ended:
                    break
                self._go_on(requests.popleft())
            else:
                requests.clear()  # nobody would see their answers
        finally:
            self._task = None
            if requests:  # a handler that did not answer
                self.kill()
            if self._transport is None:
                self._owner.lost(self)

    def _wake(self) -> None:
        asleep, self._asleep = self._asleep, None
        if asleep is not None and not asleep.done():
            asleep.set_result(None)

    def _go_on(self, answered: Request) -> None:
        """After an answer: the end of the connection, or what came behind the request."""
        if self._spent:
            return
        if not answered.keep_alive:
            if answered.complete:
                self.close()
            else:
                self._linger()
            return
        if self._incoming is None and not self._requests:
            self.deadline_at = self._loop.time() + KEEP_ALIVE_S
            if self._ahead:
                data, self._ahead = bytes(self._ahead), bytearray()
                self._feed(data)
        elif self._incoming is not None:
            self.deadline_at = self._loop.time() + (HEAD_S if self._in_head else BODY_IDLE_S)
        self._resume()

    def _stay(self, rest: bytes) -> None:
        """An upgrade that was offered (Java's client offers h2c with its first request) is not taken: `rest` is the body.

        llhttp has ended the message at its head, so another parser reads the body, by a head that only frames it.
        """
        request = self._requests[-1]
        framing = [line for line in request.headers if line[0] in (b"content-length", b"transfer-encoding")]
        head = b"".join([b"%b: %b\r\n" % line for line in framing])
        request.complete = False
        self._incoming = request
        self._parser = HttpRequestParser(_BodyOnly(self))
        try:
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + head + b"\r\n" + rest)
        except (HttpParserError, HttpParserUpgrade):
            self._refuse("The request is not valid HTTP/1.1.")

    def stayed(self) -> None:
        """The body behind a refused upgrade has ended: heads are heads again."""
        self._parser = HttpRequestParser(self)
        self.on_message_complete()

    def _refuse(self, message: str) -> None:
        """This is no HTTP any more: tell, unless an answer is under way, and end."""
        requests = tuple(self._requests)
        if not any(request.started for request in requests):
            body = envelope(message, INVALID_REQUEST, code="invalid_http")
            lines = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            self.send(status_line(400) + date_line(int(time.time())) + lines + body)
        self._linger()
        for request in requests:
            request.left()

    def _linger(self) -> None:
        """Say that nothing more comes, and let the client see it before the connection ends."""
        self._spent = True
        self._incoming = None
        self._ahead.clear()
        self._resume()
        self.deadline_at = self._loop.time() + LINGER_S
        self.flush()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def _waste(self, size: int) -> None:
        """What comes behind a refusal is thrown away, up to a bound; then the client waits for the connection's end."""
        self._wasted_bytes += size
        if self._wasted_bytes > LINGER_BYTES:
            self._pause()

    def _wait(self) -> None:
        """Read no more until what was read is asked for."""
        self._pause()
        self.deadline_at = self._loop.time() + LOOK_S if _ASKED else inf

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
            sock = self._transport.get_extra_info("socket")
            if (
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 2 * UNREAD_BYTES
            ):  # Linux tells, and takes, the double
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES)

    def _left(self) -> bool:
        """Whether the client has hung up, whatever of what it sent is still to be read."""
        if self._transport is None:
            return True
        return self._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _LEFT

    def _resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()


def _size(target: bytes, headers: list[Line]) -> int:
    return len(target) + sum(len(name) + len(value) + 4 for name, value in headers)


class _BodyOnly:
    """What a parser tells of one body."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._begun = False

    def on_message_begin(self) -> None:
        if self._begun:
            raise BadHead  # nobody pipelines behind an upgrade
        self._begun = True

    def on_body(self, body: bytes) -> None:
        self._connection.on_body(body)

    def on_message_complete(self) -> None:
        self._connection.stayed()
