"""The client's end of one request: what is sent to it, and the watch over its leaving and the process's end.

Must not know what is sent, or where it comes from.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from gateway.errors import Draining
from gateway.request import Request
from gateway.upstreams.base import Take

SHUTDOWN = "shutdown"
GONE = "client_gone"
LAST_READ_S = 60.0
"""How long an answer that is written may wait for its reader and count as open."""

Line = tuple[bytes, bytes]


class Interrupted(Exception):
    """The work for a client was cut: `why` is GONE or SHUTDOWN."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Client:
    """The client's end of one request: what is sent to it, and the watch over its leaving.

    Inside `with client:` the caller's task is interrupted as soon as the client is gone, or when `cut` is called.
    """

    __slots__ = ("_cut", "_request", "_task", "_why", "held_bytes")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._task: asyncio.Task[Any] | None = None
        self._why: str | None = None
        self._cut = False
        self.held_bytes = 0
        """What the request holds of the process's memory."""

    @property
    def started(self) -> bool:
        return self._request.started

    @property
    def ended(self) -> bool:
        return self._request.ended

    @property
    def cutting(self) -> bool:
        """The request is being interrupted by a shutdown, not by its client."""
        return self._why == SHUTDOWN

    def respond(self, status: int, headers: Sequence[Line], body: bytes) -> None:
        """The whole answer."""
        self._request.respond(status, headers, body)

    def start(self, status: int, headers: Sequence[Line]) -> None:
        """The head of a stream; it leaves with the first bytes."""
        self._request.begin(status, headers)

    @property
    def write(self) -> Take:
        """Send bytes; False where more should wait for `room`."""
        return self._request.write

    async def room(self) -> None:
        """Wait until the client has read on, or is gone."""
        await self._request.room()

    async def taken(self) -> None:
        """Wait, up to LAST_READ_S, until the client has read nearly all of its answer, or is gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_READ_S):
                await self._request.room()

    @property
    def behind(self) -> bool:
        """More was written than the client has read."""
        return self._request.full

    def end(self, data: bytes = b"") -> None:
        self._request.end(data)

    def cut(self) -> None:
        """End the request: the process shuts down."""
        self._cut = True
        self._request.fail(Draining())  # where its body is still awaited
        self._interrupt(SHUTDOWN)

    def __enter__(self) -> None:
        """Raises Interrupted, there or in place of what is inside."""
        if self._cut or self._request.gone:
            raise Interrupted(SHUTDOWN if self._cut else GONE)
        self._task = self._request.task
        self._request.on_gone = self._gone

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: object) -> None:
        task, self._task = self._task, None
        self._request.on_gone = None
        if isinstance(fault, asyncio.CancelledError) and self._why is not None and task is not None:
            task.uncancel()
            raise Interrupted(self._why) from None

    def _gone(self) -> None:
        self._interrupt(GONE)

    def _interrupt(self, why: str) -> None:
        if self._task is not None and self._why is None and not self.ended:
            self._why = why
            self._task.cancel()
