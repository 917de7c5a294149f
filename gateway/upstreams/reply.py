"""One answer of an upstream while it is read: what has arrived and nobody has taken yet, and who waits for more.

First what readers use (see `base.Reply`), then what its connection tells it. Must not know framing, deadlines or sockets: those
are the connection's, seen from here as `Source`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from gateway.upstreams.base import Headers, ReplyBroken, Room, Take, UpstreamError


class Source(Protocol):
    """The connection that an answer comes on."""

    def taken(self) -> None:
        """The reader has taken everything that had arrived."""

    def finish(self, reply: "HttpReply", /) -> None:
        """`reply` is closed."""


class HttpReply:
    """One answer, from `upstream`'s `replica`."""

    __slots__ = (
        "_connection",
        "_fault",
        "_loop",
        "_pieces",
        "_take_piece",
        "_waiter",
        "complete",
        "full",
        "has_body",
        "head",
        "headers",
        "on_close",
        "replica",
        "status",
        "unread_bytes",
        "upstream",
    )

    def __init__(self, connection: Source, upstream: str, replica: str, loop: asyncio.AbstractEventLoop) -> None:
        self._connection: Source | None = connection
        self._loop = loop
        self._pieces: list[bytes] = []
        self._fault: UpstreamError | None = None
        self.head = self._waiter = loop.create_future()
        """Done when the head is there; fails where that is not to be."""
        self._take_piece: Take | None = None
        self.full = False
        """Who takes the pieces has no room."""
        self.upstream = upstream
        self.replica = replica
        self.status = 0
        self.headers: Headers = ()
        self.complete = False
        self.has_body = False
        self.unread_bytes = 0
        self.on_close: Callable[[UpstreamError | None], None] | None = None
        """Called once, with what broke the reply."""

    def whole(self) -> bytes | None:
        """See `base.Whole`."""
        if not self.complete or self._fault is not None:
            return None
        body = self._joined()
        self.close()
        return body

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._fault is not None:
                raise self._fault
            if self.complete:
                raise StopAsyncIteration
            await self._news()
        return self._take()

    async def pour(self, take: Take, room: Room) -> None:
        """See `base.Pour`. This task is woken at the end, and where the taker is full."""
        self._take_piece = take
        try:
            while True:
                if self.full:
                    await room()
                    self.full = False
                    if self._connection is not None:
                        self._connection.taken()
                if self._pieces:
                    self.full = not take(self._take())
                elif self._fault is not None:
                    raise self._fault
                elif self.complete:
                    return
                else:
                    await self._news()
        finally:
            self._take_piece = None

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """As `aclose`, for those who cannot wait."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.finish(self)
        fault = self._fault
        if self._pieces or not self.complete:
            self._pieces.clear()
            self._fault = self._fault or ReplyBroken(self.upstream, "closed by its reader")
            self.wake()
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close(fault)

    def _take(self) -> bytes:
        taken = self._joined()
        if self._connection is not None and not self.full:
            self._connection.taken()
        return taken

    def _joined(self) -> bytes:
        pieces = self._pieces
        joined = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.unread_bytes = 0
        return joined

    def _news(self) -> "asyncio.Future[None]":
        self._waiter = waiter = self._loop.create_future()
        return waiter

    # --- for the connection

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.unread_bytes += len(piece)
        self.has_body = True

    def fail(self, fault: UpstreamError) -> None:
        """What has arrived is still given, then `fault` is raised. The first one counts; a whole reply stays one."""
        if self._fault is None and not self.complete:
            self._fault = fault
        self.wake()

    def wake(self) -> None:
        """There is news: a head, a piece, the end or a fault."""
        pieces = self._pieces
        if self._take_piece is not None and pieces and not self.full:
            piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            self.unread_bytes = 0
            self.full = not self._take_piece(piece)
            if not (self.full or self.complete or self._fault is not None):
                return
        waiter = self._waiter
        if waiter.done():
            return
        if self.status:
            waiter.set_result(None)
        elif self._fault is not None:
            waiter.set_exception(self._fault)
