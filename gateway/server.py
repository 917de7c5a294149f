"""The server: uvicorn with bounds on request heads, our own signals, and a drain that lets open streams finish.

Must not know what is served. `Server.shutdown` is the drain's place: listeners close, `drain` runs, then uvicorn closes the rest.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.errors import INVALID_REQUEST, envelope

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200
HEAD_S = 20.0
"""How long a connection may take to send a request's head."""
KEEP_ALIVE_S = 75
BACKLOG = 2048
TICKS_PER_S = 10
ABANDON_S = 2
"""How long connections that neither end nor were cut are waited for at the very end."""


class HeadTooLarge(ValueError):
    """Raised inside the parser: becomes a 400 and the end of the connection."""


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a bound on the size, the number and the time of a request's header lines."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._lines_bytes = 0
        self._in_head = False
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's signature
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if was_in_head:  # what a head begins with may stand behind the last request's body: not counted
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The request's head is too large.")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self._give_up)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._lines_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        if len(self.headers) >= MAX_HEADERS:
            raise HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        if self.transport.is_closing():
            return
        body = envelope(msg, INVALID_REQUEST, code="invalid_http")
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n" % len(body)
        )
        self.transport.write(head + body)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._lines_bytes += size
        if self._lines_bytes > MAX_HEAD_BYTES:
            raise HeadTooLarge

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Server(uvicorn.Server):
    """One listener. Signals are its owner's; `stop` begins the drain."""

    def __init__(self, app: Any, drain: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=ABANDON_S,
            )
        )
        self._drain = drain
        self._stopping = asyncio.Event()

    async def main_loop(self) -> None:
        """uvicorn's own, waking once a second for the Date header and at once for the end."""
        counter = 0
        while not await self.on_tick(counter):
            counter += TICKS_PER_S
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopping.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        if self._drain is not None:
            await self._drain()
        await super().shutdown(sockets)

    def stop(self) -> None:
        self.should_exit = True
        self._stopping.set()


def listen(bind: str) -> socket.socket:
    """A listening address that several processes may share. `bind` is HOST:PORT, `[::]:PORT` for IPv6."""
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, int(port)))
    except BaseException:
        sock.close()
        raise
    return sock


@asynccontextmanager
async def serving(server: Server, sock: socket.socket) -> AsyncIterator[Server]:
    """The server at work; leaving the block drains and stops it."""
    task = asyncio.ensure_future(server.serve(sockets=[sock]))
    try:
        while not server.started and not task.done():  # noqa: ASYNC110 uvicorn tells it by an attribute only
            await asyncio.sleep(0.005)
        if task.done():
            task.result()
        yield server
    finally:
        server.stop()
        await task
