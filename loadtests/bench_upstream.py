"""CPU per request of our HTTP client alone, beside aiohttp's, in one run: `python loadtests/bench_upstream.py` (about 10 s).

A bare server in a process of its own answers at once; only the client's process is counted (user + system time), 16 calls
at a time, the two clients in turns, so that other load on the machine meets both. Times differ between machines; the ratio
hardly does.
"""

import asyncio
import json
import multiprocessing
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from statistics import median

import aiohttp
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway.upstreams.base import Call, Deadlines
from gateway.upstreams.openai import OpenAIUpstream

CONCURRENT, ROUNDS = 16, 3
REQUESTS, STREAMS = 1500, 100
EVENTS = 50
HEADERS = [(b"content-type", b"application/json"), (b"accept-encoding", b"identity"), (b"x-request-id", b"id-1")]
REQUEST = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 220}]}).encode()
PLAIN = b"x" * 450
EVENT = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'

Ask = Callable[[str], Awaitable[int]]


class Answering(asyncio.Protocol):
    """Reads no more of a request than where it ends; /stream is answered event by event."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP's
        self.task: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        if not data.endswith(REQUEST[-8:]):
            return
        if b"/stream" in data[:64]:
            self.task = asyncio.get_running_loop().create_task(self.stream())
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(PLAIN), PLAIN))

    async def stream(self) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for _ in range(EVENTS):
            self.transport.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
            await asyncio.sleep(0.0002)
        self.transport.write(b"0\r\n\r\n")


def serve(pipe: Pipe) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


def ours(url: str) -> tuple[Ask, Callable[[], Awaitable[None]]]:
    upstream = OpenAIUpstream(name="u", base_urls=[url], api_key="key", clock=time.monotonic, draw=random.random)
    deadlines = Deadlines()

    async def ask(path: str) -> int:
        call = Call(method="POST", path=path, headers=HEADERS, body=REQUEST, deadlines=deadlines)
        reply = await upstream.open(call)
        size = 0
        async for chunk in reply.chunks():
            size += len(chunk)
        await reply.aclose()
        return size

    return ask, upstream.aclose


def aiohttps(url: str) -> tuple[Ask, Callable[[], Awaitable[None]]]:
    timeout = aiohttp.ClientTimeout(total=600, sock_connect=5, sock_read=60)
    session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
    headers = {name.decode(): value.decode() for name, value in HEADERS} | {"authorization": "Bearer key"}

    async def ask(path: str) -> int:
        size = 0
        async with session.post(url + path, data=REQUEST, headers=headers) as reply:
            async for chunk in reply.content.iter_any():
                size += len(chunk)
        return size

    return ask, session.close


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def cost_us(ask: Ask, path: str, count: int, expected: int) -> float:
    """CPU µs per call over `count` calls."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            assert await ask(path) == expected

    began = cpu_s()
    await asyncio.gather(*(worker() for _ in range(CONCURRENT)))
    return (cpu_s() - began) / count * 1e6


async def measure(url: str) -> dict[str, dict[str, float]]:
    clients = {"ours": ours(url), "aiohttp": aiohttps(url)}
    kinds = {"plain": ("/plain", REQUESTS, len(PLAIN)), "stream": ("/stream", STREAMS, EVENTS * len(EVENT))}
    costs: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in clients} for kind in kinds}
    for turn in range(ROUNDS + 1):
        for kind, (path, count, expected) in kinds.items():
            for name, (ask, _) in clients.items():
                cost = await cost_us(ask, path, count, expected)
                if turn:  # the first one warms up
                    costs[kind][name].append(cost)
    for _, close in clients.values():
        await close()
    return {kind: {name: median(values) for name, values in by_name.items()} for kind, by_name in costs.items()}


def main() -> None:
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    try:
        costs = uvloop.run(measure(f"http://127.0.0.1:{here.recv()}"))
    finally:
        server.terminate()
        server.join()
    for kind, by_name in costs.items():
        what = "plain answer" if kind == "plain" else f"stream of {EVENTS} events"
        ratio = by_name["aiohttp"] / by_name["ours"]
        print(f"{what:>20}: ours {by_name['ours']:6.0f} µs, aiohttp {by_name['aiohttp']:6.0f} µs, ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
