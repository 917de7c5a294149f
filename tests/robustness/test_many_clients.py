"""R12 and R13: a thousand open streams, slow heads and slow readers: what each weighs, and what the others notice."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.upstreams.http import HttpPool
from tests.gateway.harness import KEY
from tests.gateway.upstreams.contract import EVENTS, event
from tests.gateway.upstreams.server import Exchange, scripted
from tests.robustness.conftest import Figure
from tests.robustness.driving import DONE, ask, asking, client_of, gateway_process, memory_bytes, model, quantile

KIB = 1024
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\nx-tutelage-log: off\r\n"
    b"content-length: %d\r\n\r\n%b"
)
"""Captured answers are kept to their end, up to limits.answer_mb: what is looked at here is what the relay holds."""


@pytest.mark.parametrize("streams", [200, pytest.param(1_000, marks=pytest.mark.nightly)])
async def test_open_streams_weigh_little_and_none_is_dropped(streams: int, tmp_path: Path, figure: Figure):
    everybody, go_on = asyncio.Event(), asyncio.Event()
    begun = 0

    async def script(exchange: Exchange) -> None:
        nonlocal begun
        await exchange.begin_chunked(EVENTS)
        for number in range(20):
            await exchange.chunk(event(f"{number} " * 10))
        begun += 1
        if begun == streams:
            everybody.set()
        await go_on.wait()
        await exchange.chunk(event("", "stop") + DONE)
        await exchange.end_chunked()

    def roomy(content: dict[str, object]) -> None:
        upstreams = content["upstreams"]
        assert isinstance(upstreams, dict)
        upstreams["big"]["max_connections"] = streams

    async with (
        scripted(model("warm")) as warm,
        scripted(script) as teacher,
        gateway_process(teacher.url, warm.url, tmp_path, change=roomy) as process,
    ):
        pool = client_of(process.url, connections=streams)
        before = memory_bytes(process.child.pid)
        tasks = [asyncio.ensure_future(ask(pool, asking(user=str(n), stream=True))) for n in range(streams)]
        await asyncio.wait_for(everybody.wait(), 60)
        weight = (memory_bytes(process.child.pid) - before) / streams
        go_on.set()
        answers = await asyncio.gather(*tasks)
        await pool.aclose()
    dropped = sum(answer.fault is not None or not answer.body.endswith(DONE) for answer in answers)
    figure("R12", f"{streams} open streams: KiB each / dropped", "≤ 150 / 0", f"{weight / KIB:.0f} / {dropped}")
    assert dropped == 0
    assert weight <= 150 * KIB


async def _slow_head(port: int) -> None:
    """A head that comes a byte at a time, until the server has had enough."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    closed = asyncio.ensure_future(reader.read())
    try:
        for byte in b"POST /v1/chat/completions HTTP/1.1\r\nhost: " + b"x" * 10_000:
            writer.write(bytes([byte]))
            if (await asyncio.wait((closed,), timeout=0.2))[0]:
                return
    finally:
        closed.cancel()
        writer.transport.abort()


async def _slow_reader(port: int, begun: asyncio.Semaphore) -> None:
    """A stream of megabytes, read at 100 bytes a second."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=64)
    body = json.dumps({"model": "chat", "stream": True, "messages": [{"role": "user", "content": "long"}]}).encode()
    writer.write(HEAD % (KEY.encode(), len(body), body))
    try:
        while await reader.read(20):
            begun.release()
            await asyncio.sleep(0.2)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def slow_clients(port: int, heads: int, readers: int) -> AsyncIterator[None]:
    begun = asyncio.Semaphore(0)
    tasks = [asyncio.ensure_future(_slow_head(port)) for _ in range(heads)]
    tasks += [asyncio.ensure_future(_slow_reader(port, begun)) for _ in range(readers)]
    try:
        for _ in range(readers):
            await begun.acquire()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _settled(sent: Callable[[], int]) -> None:
    """Wait until every buffer on the way to the slow readers is full: before that they are readers like others."""
    before, now = -1, sent()
    while now != before:
        await asyncio.sleep(0.3)
        before, now = now, sent()


async def _healthy(pool: HttpPool, count: int) -> list[float]:
    answers = [await ask(pool, asking("solo", str(number))) for number in range(count)]
    assert {answer.status for answer in answers} == {200}, next(answer for answer in answers if answer.status != 200)
    return [answer.total_s for answer in answers]


@pytest.mark.parametrize(
    ("heads", "readers", "rounds", "part", "most"),
    [(100, 100, 3, 0.0, 0.5), pytest.param(500, 200, 5, 0.5, 0.1, marks=pytest.mark.nightly)],
)
async def test_slow_clients_are_bounded_and_harm_nobody(
    *, heads: int, readers: int, rounds: int, part: float, most: float, tmp_path: Path, figure: Figure
):
    """Pairs in one run: healthy clients without and with the slow ones beside them, whose median may be `most` longer in this
    `part` of the rounds. The short form takes the best one: what else the machine does makes others worse."""
    big, sent = event("x" * 8_000), 0

    async def script(exchange: Exchange) -> None:
        nonlocal sent
        if not json.loads(exchange.body).get("stream"):
            await model("teacher", wait_s=0.005)(exchange)
            return
        await exchange.begin_chunked(EVENTS)
        for _ in range(1_000):
            await exchange.chunk(big)
            sent += 1
        await exchange.until_closed()

    changes, weights = list[float](), list[float]()
    async with (
        scripted(script) as teacher,
        scripted(model("student")) as student,
        gateway_process(teacher.url, student.url, tmp_path) as process,
    ):
        port, pool = int(process.url.rpartition(":")[2]), client_of(process.url)
        await _healthy(pool, 50)
        for _ in range(rounds):
            without = quantile(await _healthy(pool, 150), 0.5)
            before = memory_bytes(process.child.pid)
            async with slow_clients(port, heads, readers):
                await _settled(lambda: sent)
                changes.append(quantile(await _healthy(pool, 150), 0.5) / without - 1)
                weights.append((memory_bytes(process.child.pid) - before) / readers)
        await pool.aclose()
    figure("R13", f"{heads} slow heads, {readers} slow readers: KiB each / healthy p50", "≤ 256 / ≤ +10 %",
           f"{max(weights) / KIB:.0f} / {min(changes):+.0%} to {max(changes):+.0%}")  # fmt: skip
    assert max(weights) <= 256 * KIB
    assert quantile(changes, part) <= most
