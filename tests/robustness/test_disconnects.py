"""R5: clients that hang up, at any moment: the upstream sees it at once, and nobody is blamed."""

import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.gateway.harness import KEY, running, until
from tests.gateway.model_server import ModelServer
from tests.gateway.upstreams.contract import EVENTS, event
from tests.gateway.upstreams.server import Exchange, scripted
from tests.robustness.conftest import Figure
from tests.robustness.driving import quantile

AT_ONCE = 50
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"


@pytest.mark.parametrize(("count", "part"), [(100, 0.5), pytest.param(1_000, 0.99, marks=pytest.mark.nightly)])
async def test_a_client_that_hangs_up_closes_its_upstream(count: int, part: float, tmp_path: Path, figure: Figure):
    """This `part` of the closes is seen within a second: of a hundred a pause of the machine takes many at once."""
    asked = [asyncio.Event() for _ in range(count)]
    left_at, closed_at = dict[int, float](), dict[int, float]()

    async def script(exchange: Exchange) -> None:
        request = json.loads(exchange.body)
        number = int(request["user"])
        if request["stream"] and number % 3:
            await exchange.begin_chunked(EVENTS)
            await exchange.chunk(event("begun"))
        asked[number].set()
        await exchange.until_closed()
        closed_at[number] = time.perf_counter()

    async def client(number: int, port: int) -> None:
        stream = number % 2 == 0
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = {"model": "chat", "stream": stream, "user": str(number), "messages": [{"role": "user", "content": "x"}]}
        raw = json.dumps(body).encode()
        writer.write(HEAD % (KEY.encode(), len(raw), raw))
        await asked[number].wait()
        if stream and number % 3:
            assert (await reader.read(100)).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(random.Random(number).random() * 0.02)
        left_at[number] = time.perf_counter()
        if number % 5:
            writer.close()
        else:
            writer.transport.abort()

    async with scripted(script) as model:
        server = ModelServer(name="model", script=lambda _: pytest.fail("not asked"), url=model.url)
        async with running(server, server, tmp_path, share_bp=5_000) as at:
            for first in range(0, count, AT_ONCE):
                numbers = range(first, min(count, first + AT_ONCE))
                await asyncio.gather(*(client(number, at.gateway.port) for number in numbers))
            await until(lambda: len(closed_at) == count)
            await until(lambda: at.gateway.front.admission.open == 0)
            assert [lane.calls for lane in at.gateway._lanes.all()] == [0, 0]
            assert {str(lane.state) for lane in at.gateway._lanes.all()} == {"closed"}, "hanging up is no failure"
        records = at.exchanges()
    waits = [closed_at[number] - left_at[number] for number in range(count)]
    figure("R5", f"{count} disconnects: upstream sees the close, p50 / p99", "p99 ≤ 1 s",
           f"{quantile(waits, 0.5) * 1000:.1f} / {quantile(waits, 0.99) * 1000:.1f} ms")  # fmt: skip
    assert quantile(waits, part) <= 1.0
    assert Counter((record.outcome, record.cause) for record in records) == {("client_cancelled", "client_gone"): count}
