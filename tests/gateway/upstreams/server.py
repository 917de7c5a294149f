"""A raw, scripted HTTP server: it answers with exactly the bytes that a test wrote, when the test says so.

    async with scripted(script) as server:      # `script` is called once per request, with its Exchange
        … server.url …

The script may answer, wait, cut or reset the connection; a request is read whole before the script runs. One script serves all
connections; `server.requests` keeps what came, `server.connections` how many there were, `server.closed` how many have ended.
"""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Script = Callable[["Exchange"], Awaitable[None]]


@dataclass(kw_only=True)
class Exchange:
    """One request as it arrived, and the means to answer it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    number: int
    on_connection: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError("the client is gone")
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"{}", *, status: int = 200, headers: bytes = b"") -> None:
        """A whole answer with Content-Length. `headers` are lines that each end with CRLF."""
        await self.send(head(status, headers + b"content-length: %d\r\n" % len(body)) + body)

    async def begin_chunked(self, headers: bytes = b"") -> None:
        await self.send(head(200, headers + b"transfer-encoding: chunked\r\n"))

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end_chunked(self) -> None:
        await self.send(b"0\r\n\r\n")

    async def until_closed(self) -> None:
        """Return when the client has closed the connection."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """End with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass(kw_only=True)
class Server:
    """See the module."""

    url: str = ""
    port: int = 0
    connections: int = 0
    closed: int = 0
    requests: list[Exchange] = field(default_factory=list)

    def bodies(self) -> list[object]:
        return [json.loads(exchange.body) for exchange in self.requests]


def head(status: int = 200, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\n%b\r\n" % (status, headers)


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str], bytes] | None:
    """Method, path, headers and body, or None where the client is gone."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    line, *lines = raw[:-4].decode("latin-1").split("\r\n")
    method, path, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
    return method, path, headers, await reader.readexactly(int(headers.get("content-length", "0")))


@asynccontextmanager
async def scripted(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server on a port of its own, on 127.0.0.1, with the base path /v1."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        served = 0
        try:
            while not writer.is_closing() and (request := await read_request(reader)) is not None:
                method, path, headers, body = request
                exchange = Exchange(
                    method=method,
                    path=path,
                    headers=headers,
                    body=body,
                    number=len(server.requests),
                    on_connection=served,
                    reader=reader,
                    writer=writer,
                )
                server.requests.append(exchange)
                served += 1
                await script(exchange)
        except ConnectionError:
            pass
        finally:
            server.closed += 1
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls, limit=1 << 20)
    server.port = listener.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}/v1"
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def eventually(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    """Return as soon as `condition` holds; AssertionError where it does not in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while not condition():
        assert loop.time() < end, "the condition did not come true in time"
        await asyncio.sleep(0.002)
