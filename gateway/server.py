"""The server: one listener, its connections, and a drain that lets open streams finish.

Must not know what is served, nor how HTTP is read (`gateway/connection.py`). To stop: the listener closes, `drain` runs while
what comes on open connections is still served, then idle connections end and the others have ABANDON_S.
"""

import asyncio
import resource
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from gateway.connection import Connection
from gateway.outbox import Outbox
from gateway.request import Request

BACKLOG = 2048
TICK_S = 0.25
"""Deadlines of connections are met this much late at most."""
UNSENT_BYTES = 64 * 1024
"""What the system may hold of an answer beyond what is on its way to the client; accepted connections inherit it."""
FIRST_WORD_S = 0.05
"""How long the last connections may take to say what they want, before the drain looks at who is still served."""
ABANDON_S = 2.0
"""How long connections that neither end nor were cut are waited for at the very end."""

Handler = Callable[[Request], Awaitable[None]]
"""Answers one request. It raises nothing."""


class Server:
    """One listener. `drain` returns when the process may end; of more than `most` connections the newest is ended at once."""

    def __init__(
        self, handler: Handler, drain: Callable[[], Awaitable[None]] | None = None, most: int = sys.maxsize
    ) -> None:
        self.handle = handler
        self.outbox = Outbox()
        self._drain = drain
        self._most = most
        self._connections: set[Connection] = set()
        self._none_left = asyncio.Event()
        self._ticker: asyncio.TimerHandle | None = None
        self._listener: asyncio.AbstractServer | None = None
        self._sock: socket.socket | None = None
        self.closing = False

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    async def start(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._sock = sock
        self._listener = await loop.create_server(lambda: Connection(self, loop), sock=sock, backlog=BACKLOG)
        self._ticker = loop.call_later(TICK_S, self._tick, loop)

    async def stop(self) -> None:
        self.closing = True
        await self._close_listener()
        if self._drain is not None:
            await self._drain()
        for connection in tuple(self._connections):
            if connection.idle:
                connection.close()
        await self._emptied(ABANDON_S)
        for connection in tuple(self._connections):
            connection.kill()
        await self._emptied(ABANDON_S)
        if self._ticker is not None:
            self._ticker.cancel()

    async def _close_listener(self) -> None:
        """No new connections. Those that the system has accepted for us are ours: closing the listener would reset them."""
        if self._listener is None or self._sock is None:
            return
        loop, waiting = asyncio.get_running_loop(), list[socket.socket]()
        with suppress(BlockingIOError, ConnectionError):
            while len(waiting) < BACKLOG:
                waiting.append(self._sock.accept()[0])
        self._listener.close()
        for sock in waiting:
            with suppress(OSError):
                await loop.connect_accepted_socket(lambda: Connection(self, loop), sock)
        await asyncio.sleep(FIRST_WORD_S)

    # --- for connections

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        if len(self._connections) > self._most:
            connection.kill()

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._none_left.set()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """One look at all deadlines: cheaper than a timer for each of them."""
        now = loop.time()
        for connection in tuple(self._connections):
            if connection.deadline_at <= now:
                connection.expire()
        self._ticker = loop.call_later(TICK_S, self._tick, loop)

    async def _emptied(self, within_s: float) -> None:
        self._none_left.clear()
        if not self._connections:
            return
        try:
            async with asyncio.timeout(within_s):
                await self._none_left.wait()
        except TimeoutError:
            return


def client_connections() -> int:
    """How many connections clients may hold: half of the files that this process may open, as many as the system allows.

    The other half is for upstreams and the disk: clients that only connect must not take those away.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft // 2


def listen(bind: str) -> socket.socket:
    """A listening address that several processes may share. `bind` is HOST:PORT, `[::]:PORT` for IPv6."""
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, so that asyncio too sets TCP_NODELAY
    sock.setblocking(False)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # else the system queues megabytes for a client that does not read
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        sock.bind((host, int(port)))
    except OSError as fault:
        sock.close()
        raise OSError(fault.errno, f"cannot listen on {bind}: {fault.strerror}") from fault
    return sock


@asynccontextmanager
async def serving(server: Server, sock: socket.socket) -> AsyncIterator[Server]:
    """The server at work; leaving the block drains and stops it."""
    await server.start(sock)
    try:
        yield server
    finally:
        await server.stop()
