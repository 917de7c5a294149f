"""Admission: how many requests may be open at once, and how large one may be. Everything beyond is refused at once.

Keeps the list of open requests, so that a drain can wait for them and cut what is late. Must not know what a request asks.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from gateway.errors import BadRequest, Draining, Overloaded, Refusal, TooLarge, WrongEncoding
from gateway.upstreams.base import Headers
from gateway.wire import header

Receive = Callable[[], Awaitable[dict[str, Any]]]
BODY_IDLE_S = 30.0
"""How long a client may be silent inside its own request."""


class Disconnected(Exception):
    """The client went away before its request was complete."""


class Open(Protocol):
    """A request under way."""

    def cut(self) -> None:
        """End it now: the process shuts down."""


class Admission:
    """The bounds of one process: `streams` requests at once, bodies up to `request_bytes`. For one event loop."""

    def __init__(self, *, streams: int, request_bytes: int) -> None:
        self._streams = streams
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

    def enter(self, request: Open) -> None:
        """Raises Overloaded or Draining; afterwards `leave` must be called once."""
        if self._refusing:
            raise Draining
        if len(self._open) >= self._streams:
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

    async def read(self, headers: Headers, receive: Receive) -> bytes:
        """The request's body. Raises TooLarge as soon as that is known, Disconnected where the client left."""
        self._check(headers)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_IDLE_S) as waiting:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Disconnected
                    part = message.get("body", b"")
                    size += len(part)
                    if size > self._request_bytes:
                        raise TooLarge(self._request_bytes)
                    parts.append(part)
                    if not message.get("more_body", False):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
                    waiting.reschedule(asyncio.get_running_loop().time() + BODY_IDLE_S)
        except TimeoutError:
            raise _late() from None

    def _check(self, headers: Headers) -> None:
        """What the head alone tells."""
        encoding = header(headers, b"content-encoding")
        if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
            raise WrongEncoding("Compressed request bodies are not read; send the request without Content-Encoding.")
        coding = header(headers, b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            raise WrongEncoding("Of transfer codings only `chunked` is read.")
        kind = header(headers, b"content-type")
        if kind is not None and b"json" not in kind.lower():
            refusal = WrongEncoding("Send the request as JSON, with `Content-Type: application/json`.")
            refusal.code = "unsupported_content_type"
            raise refusal
        length = header(headers, b"content-length")
        if length is not None and length.isdigit() and int(length[:20]) > self._request_bytes:
            raise TooLarge(self._request_bytes)


def _late() -> Refusal:
    refusal = BadRequest(f"The rest of the request did not come within {BODY_IDLE_S:g} s.", code="request_incomplete")
    refusal.headers = ((b"connection", b"close"),)
    return refusal
