"""HTTP by hand: bytes out as they are written, bytes back as they come, without a client library that would correct either."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httptools

ENVELOPE = {"message", "type", "param", "code"}
ANSWER_S = 30.0
DRAINED_BYTES = 65_536


@dataclass(kw_only=True)
class Said:
    """One answer, or what there was of it. `raw` is every byte that came on the connection."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False
    closed: bool = False
    raw: bytes = b""
    sent: int = 0
    """Bytes that could be written before the answer came."""

    @property
    def error(self) -> dict[str, Any]:
        """The refusal's error; AssertionError where it is no whole envelope."""
        document = json.loads(self.body)
        assert set(document) == {"error"}
        assert set(document["error"]) == ENVELOPE
        error: dict[str, Any] = document["error"]
        return error


class Answers:
    """Reads answers off one connection."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._begin()
        self._parser: httptools.HttpResponseParser = httptools.HttpResponseParser(self)
        self._whole: list[Said] = []

    async def next(self, within_s: float = ANSWER_S) -> Said:
        """The next answer, 100 Continue too, whole or as far as it came before the connection or `within_s` ended."""
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(within_s):
                while not self._whole:
                    data = await self._reader.read(DRAINED_BYTES)
                    if not data:
                        break
                    self._now.raw += data
                    self._parser.feed_data(data)
        said = self._whole.pop(0) if self._whole else self._now
        said.closed = self._reader.at_eof()
        return said

    async def ended(self, within_s: float = ANSWER_S) -> bytes:
        """What else comes until the server closes. TimeoutError where it does not."""
        async with asyncio.timeout(within_s):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    def _begin(self) -> None:
        self._now = Said()

    def on_message_begin(self) -> None:
        pass

    def on_header(self, name: bytes, value: bytes) -> None:
        self._now.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._now.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._now.body += body

    def on_message_complete(self) -> None:
        self._now.complete = True
        self._whole.append(self._now)
        self._begin()


def post(path: str, body: bytes, *lines: bytes) -> bytes:
    """A request whose length is right. Lines that are given replace the usual ones of the same name."""
    usual = (b"host: gateway", b"content-type: application/json", b"content-length: %d" % len(body))
    given = {line.partition(b":")[0].lower() for line in lines}
    kept = [line for line in usual if line.partition(b":")[0] not in given]
    return b"\r\n".join((b"POST %s HTTP/1.1" % path.encode(), *kept, *lines, b"", body))


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[Answers, asyncio.StreamWriter]]:
    """A connection, broken off at the block's end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Answers(reader), writer
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def many_connected(port: int, count: int) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """`count` connections of which nothing is read."""
    async with AsyncExitStack() as stack:
        yield [(await stack.enter_async_context(connected(port)))[1] for _ in range(count)]


async def say(port: int, data: bytes | AsyncIterable[bytes], *, within_s: float = ANSWER_S) -> Said:
    """Send `data` and take the first answer; sending ends as soon as there is one."""
    counted = [0]
    async with connected(port) as (answers, writer):
        sending = asyncio.ensure_future(_send(writer, data, counted))
        try:
            said = await answers.next(within_s)
            said.sent = counted[0]
            return said
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending


async def _send(writer: asyncio.StreamWriter, data: bytes | AsyncIterable[bytes], counted: list[int]) -> None:
    with suppress(ConnectionError):
        if isinstance(data, bytes):
            writer.write(data)
            await writer.drain()
            counted[0] += len(data)
            return
        async for part in data:
            writer.write(part)
            await writer.drain()
            counted[0] += len(part)


def assert_refused(said: Said, *statuses: int) -> None:
    """A 4xx (one of `statuses` where there are any) in the whole envelope."""
    assert 400 <= said.status < 500, said
    assert not statuses or said.status in statuses, said
    assert said.headers["content-type"].startswith("application/json"), said
    assert said.error["message"], said
