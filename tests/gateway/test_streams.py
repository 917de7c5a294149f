"""Many streams on one gateway process: what each weighs while it is open, and what is kept for those who do not read."""

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.gateway.harness import KEY, PATIENCE_S, document
from tests.gateway.model_server import DONE, delta
from tests.gateway.process import Process, process, publish, written

STREAMS = 1_000
SLOW_READERS = 100
STREAM_BYTES = 150 * 1024
UNREAD_BYTES = 256 * 1024
BODY = b'{"model":"chat","stream":true,"messages":[{"role":"user","content":"%d"}]}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
FLOOD = delta("x" * 1000) * 16

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def model(script: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """A server of streams, as light as can be: thousands of them share this process with their clients."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"}]}")
            writer.write(HEAD)
            await script(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=STREAMS)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


async def opened(gateway: Process, number: int) -> Stream:
    """One stream, asked for and not read beyond its head; again where a busy machine makes the gateway ask for patience."""
    port = int(gateway.url.rpartition(":")[2])
    body = BODY % number
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n"
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head % (KEY.encode(), len(body)) + body)
        status = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
        if status == b"200":
            return reader, writer
        assert status == b"503"
        await closed([(reader, writer)])


async def many(gateway: Process, count: int) -> list[Stream]:
    streams: list[Stream] = []
    for first in range(0, count, 50):
        streams += await asyncio.gather(*(opened(gateway, first + place) for place in range(50)))
    return streams


async def closed(streams: list[Stream]) -> None:
    for _, writer in streams:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for _, writer in streams), return_exceptions=True)


def resident_bytes(gateway: Process) -> int:
    status = Path(f"/proc/{gateway.child.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def configured(url: str, tmp_path: Path, **route: Any) -> Path:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8 * STREAMS)), hard))
    content: dict[str, Any] = document(url, url, tmp_path, usage="if_asked", **route)
    for upstream in content["upstreams"].values():
        upstream["max_connections"] = 2 * STREAMS
    publish(content)
    return written(tmp_path / "tutelage.yaml", content)


async def test_a_thousand_open_streams_are_light_and_all_end(tmp_path: Path):
    finish = asyncio.Event()

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(delta("first"))
        await finish.wait()
        writer.write(DONE)
        await writer.drain()

    async with model(script) as url, process(configured(url, tmp_path)) as gateway:
        warm = await many(gateway, 50)
        before = resident_bytes(gateway)
        streams = await many(gateway, STREAMS)
        each = (resident_bytes(gateway) - before) / STREAMS
        finish.set()
        ends = [await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), PATIENCE_S) for reader, _ in warm + streams]
        await closed(warm + streams)
        assert await gateway.terminated() == 0
    assert sum(b"data: [DONE]" in end for end in ends) == STREAMS + len(warm)
    assert each <= STREAM_BYTES, f"{each / 1024:.0f} KiB per open stream"


async def test_what_a_slow_reader_does_not_take_is_not_kept_for_it(tmp_path: Path):
    sent = 0

    async def script(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(100_000):
            writer.write(FLOOD)
            await writer.drain()
            sent += len(FLOOD)

    async with (
        model(script) as url,
        process(configured(url, tmp_path, capture={"content": "off"})) as gateway,
    ):
        warm = await many(gateway, 50)
        before = resident_bytes(gateway)
        readers = await many(gateway, SLOW_READERS)
        seen = -1
        while seen != sent:  # until the gateway has stopped reading what nobody takes
            seen = sent
            await asyncio.sleep(0.3)
        each = (resident_bytes(gateway) - before) / len(readers)
        healthy = await opened(gateway, -1)
        assert b"data: " in await asyncio.wait_for(healthy[0].readuntil(b"\n\n"), PATIENCE_S)
        await closed([*warm, *readers, healthy])
    assert sent > SLOW_READERS * len(FLOOD)
    assert each <= UNREAD_BYTES, f"{each / 1024:.0f} KiB kept for each slow reader"
