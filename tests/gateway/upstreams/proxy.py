"""A real HTTP proxy on 127.0.0.1: CONNECT and absolute targets, whatever host is named, lead to one local port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from gateway.upstreams.dial import Proxy


@dataclass
class ProxyServer:
    """`heads` are the request heads as they came; `answer` what a CONNECT is answered with."""

    port: int = 0
    heads: list[str] = field(default_factory=list)
    answer: bytes = b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n"

    def proxy(self, authorization: str | None = None) -> Proxy:
        return Proxy(host="127.0.0.1", port=self.port, authorization=authorization)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    if not writer.is_closing() and writer.can_write_eof():
        writer.write_eof()


@asynccontextmanager
async def proxying(to_port: int) -> AsyncIterator[ProxyServer]:
    server, tasks = ProxyServer(), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # a handler runs in a task
        upstream = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            server.heads.append(head.decode("latin-1"))
            if head.startswith(b"CONNECT "):
                writer.write(server.answer)
                await writer.drain()
            from_there, upstream = await asyncio.open_connection("127.0.0.1", to_port)
            if not head.startswith(b"CONNECT "):
                method, target, rest = head.split(b" ", 2)
                upstream.write(b"%b /%b %b" % (method, target.split(b"/", 3)[3], rest))
            there, back = (
                asyncio.ensure_future(_pump(reader, upstream)),
                asyncio.ensure_future(_pump(from_there, writer)),
            )
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            back.cancel()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in (writer, upstream):
                if end is not None:
                    end.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
