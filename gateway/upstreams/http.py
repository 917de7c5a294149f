"""Our HTTP/1.1 client: one replica and the connections to it.

Owns how a request is written and which connection carries it; `dial.py` makes connections, `connection.py` reads answers into
replies (`reply.py`). Every error leaves as an `UpstreamError`. Must not know of models, routes, balancing or breakers. Follows no
redirect, decodes no body, adds no header but Host, Authorization and Content-Length, and what a proxy wants.

Kept cheap, because every request passes here: no task and no timer per request (one tick per pool watches all deadlines),
the head and a short body are one write, whatever one read brought is one piece for the reader.
"""

import asyncio
import ssl
from collections import OrderedDict
from functools import lru_cache
from math import inf

from gateway.outbox import Outbox
from gateway.upstreams.base import (
    Call,
    CallRefused,
    ConnectFailed,
    Deadlines,
    ReplyBroken,
    TimedOut,
    UpstreamError,
    joined,
)
from gateway.upstreams.connection import READ_BYTES, Connection, Unanswered, Unsent
from gateway.upstreams.dial import Address, Dialer, Proxy, address_of, trusting
from gateway.upstreams.reply import HttpReply
from tutelage.contracts.errors import ConfigurationError

TICK_S = 0.05
"""Deadlines are met this much late at most."""

KEEP_ALIVE_S = {"http": 4.0, "https": 55.0}
"""How long an unused connection is kept. uvicorn, and so vLLM, closes after 5 s; a TLS handshake is worth more patience."""

_ONE_WRITE_BYTES = 64 * 1024
_MAY_BE_BODILESS = ("GET", "DELETE")


class HttpPool:
    """The connections to one replica. For one event loop; not for threads.

    `upstream` is the name that errors carry. A call waits for a free connection as long as its connect deadline allows.
    `outstanding` counts calls from `open` until their reply is closed.
    """

    def __init__(
        self,
        *,
        upstream: str,
        base_url: str,
        api_key: str | None = None,
        max_connections: int = 256,
        tls: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self.upstream = upstream
        self.address = address = address_of(base_url)
        self.replica = address.name
        self.outstanding = 0
        self.outbox = Outbox()
        self.read_buffer = memoryview(bytearray(READ_BYTES))
        secure = address.scheme == "https"
        self._dialer = Dialer(address, tls=(tls or trusting(None)) if secure else None, proxy=proxy)
        relayed_by = None if secure else proxy
        self._prefix = address.path if relayed_by is None else f"http://{address.authority}{address.path}"
        self._fixed = _fixed_lines(address, api_key, relayed_by)
        self._keep_alive_s = KEEP_ALIVE_S[address.scheme]
        self._max = max_connections
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []  # the last used at the end
        self._waiting: OrderedDict[asyncio.Future[Connection | None], None] = OrderedDict()
        """In order. Who gave up is not in it: while nothing becomes free, nobody else would clear him away."""
        self._taken = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Connections that are there or being made."""
        return self._taken

    @property
    def idle_connections(self) -> int:
        """Connections that wait for a call."""
        return len(self._idle)

    @property
    def waiting_calls(self) -> int:
        """Calls that wait for a connection; as many as callers, whatever became of earlier ones."""
        return len(self._waiting)

    async def open(self, call: Call) -> HttpReply:
        """See `Upstream.open`. A reused connection that ends at once, before any byte of an answer, is replaced once by a new
        one: its server closed it while the request was on its way, and has as a rule read nothing of it. What must not be done
        twice (`Call.repeatable`) is sent again only where nothing of it was written."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        request = self._request(call)
        deadlines, began = call.deadlines, loop.time()
        reply: HttpReply | None = None
        self.outstanding += 1
        try:
            connection = self._reusable() or await self._connection(deadlines, began, loop)
            reply = connection.send(request, deadlines, began)
            try:
                await reply.head
            except Unanswered as fault:
                if not connection.reused or not (call.repeatable or isinstance(fault, Unsent)):
                    raise
                reply.close()
                connection = await self._fresh(deadlines, began, loop)
                reply = connection.send(request, deadlines, began)
                await reply.head
        except BaseException:
            if reply is not None:
                reply.close()
            self.outstanding -= 1
            raise
        reply.on_close = self._ended
        return reply

    async def aclose(self) -> None:
        """Close every connection; calls that are under way end with an error."""
        self._closed = True
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            if not waiter.done():
                waiter.set_exception(ConnectFailed(self.upstream, "closed"))
        for connection in tuple(self._connections):
            connection.fail(ReplyBroken(self.upstream, "closed"))
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    # --- for connections

    def give_back(self, connection: Connection) -> None:
        """`connection` is free for another call: whoever has waited longest gets it."""
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            if not waiter.done():
                connection.deadline_at = inf
                waiter.set_result(connection)
                return
        if self._closed:
            connection.close()
            return
        connection.deadline_at = connection.now() + self._keep_alive_s
        self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """`connection` is closed; its place goes to whoever has waited longest."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._give_place()

    def _give_place(self) -> None:
        self._taken -= 1
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            if not waiter.done():
                self._taken += 1
                waiter.set_result(None)
                return

    def _ended(self, _: UpstreamError | None) -> None:
        self.outstanding -= 1

    # --- one call

    def _request(self, call: Call) -> tuple[bytes, ...]:
        """What is written: one piece, or two where the body is too long to copy. Raises CallRefused."""
        body = call.body
        try:
            line = _request_line(call.method, self._prefix + call.path)
        except ValueError as fault:
            raise CallRefused(self.upstream, f"path {call.path!r}: {fault}") from fault
        headers = joined(call.headers)
        if headers is None:
            raise CallRefused(self.upstream, "a header holds a line break")
        if not body and call.method in _MAY_BE_BODILESS:
            return (b"%b%b%b%b\r\n" % (line, self._fixed, call.lines, headers),)
        head = b"%b%b%b%bcontent-length: %d\r\n\r\n" % (line, self._fixed, call.lines, headers, len(body))
        return (head + body,) if len(body) <= _ONE_WRITE_BYTES else (head, body)

    # --- finding a connection

    def _reusable(self) -> Connection | None:
        if not self._idle:
            return None
        connection = self._idle.pop()
        connection.deadline_at = inf
        return connection

    async def _connection(self, deadlines: Deadlines, began: float, loop: asyncio.AbstractEventLoop) -> Connection:
        """A connection, new or handed over by the call that ends first."""
        if self._closed:
            raise ConnectFailed(self.upstream, "closed")
        try:
            async with asyncio.timeout_at(began + min(deadlines.connect_s, deadlines.total_s)):
                while self._taken >= self._max:
                    handed = await self._wait(loop)
                    if handed is None:
                        return await self._connect(loop)
                    if not handed.closed:
                        return handed
                self._taken += 1
                return await self._connect(loop)
        except TimeoutError:
            raise TimedOut(self.upstream, "connect", deadlines.connect_s) from None

    async def _fresh(self, deadlines: Deadlines, began: float, loop: asyncio.AbstractEventLoop) -> Connection:
        """A connection that no call has used, for the second try."""
        if self._taken >= self._max and self._idle:
            self._idle[0].close()
        connection = await self._connection(deadlines, began, loop)
        while connection.used:
            connection.close()
            connection = await self._connection(deadlines, began, loop)
        return connection

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> Connection | None:
        """A connection that became free, or None: a place for a new one, counted already."""
        waiter: asyncio.Future[Connection | None] = loop.create_future()
        self._waiting[waiter] = None
        try:
            return await waiter
        except asyncio.CancelledError:
            self._waiting.pop(waiter, None)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            raise

    def _pass_on(self, handed: Connection | None) -> None:
        if handed is None:
            self._give_place()
        elif not handed.closed:
            self.give_back(handed)

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> Connection:
        """A new connection. Its place is counted already, and given back on failure."""
        connection = Connection(self, loop)
        self._connections.add(connection)
        try:
            await self._dialer.dial(loop, connection)
        except (OSError, UnicodeError) as fault:  # UnicodeError: a host that no name server could be asked for
            connection.close()
            raise ConnectFailed(self.upstream, f"{self.address.authority}: {fault}") from fault
        except BaseException:
            connection.close()
            raise
        if self._ticker is None:
            self._ticker = loop.call_later(TICK_S, self._tick, loop)
        return connection

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in tuple(self._connections):
            if connection.deadline_at <= now:
                connection.expire(now)
        self._ticker = loop.call_later(TICK_S, self._tick, loop) if self._connections else None


@lru_cache(maxsize=256)
def _request_line(method: str, target: str) -> bytes:
    """Raises ValueError where that is not one line of three words."""
    if not target.isascii():
        raise ValueError("it is not ASCII: percent-encode it")
    if any(map(str.isspace, method + target)):
        raise ValueError("it holds a space or a line break")
    return f"{method} {target} HTTP/1.1\r\n".encode("ascii")


def _fixed_lines(address: Address, api_key: str | None, relayed_by: Proxy | None) -> bytes:
    """The header lines that every request to `address` has."""
    lines = f"host: {address.authority}\r\n"
    if relayed_by is not None and relayed_by.authorization is not None:
        lines += f"proxy-authorization: {relayed_by.authorization}\r\n"
    if api_key is not None:
        if not api_key.isascii() or not api_key.isprintable():
            raise ConfigurationError(f"the api_key for {address.authority} holds characters that no header may hold")
        lines += f"authorization: Bearer {api_key}\r\n"
    return lines.encode("ascii")
