"""After storms everything is back at its base: open requests, calls, permits, shadow slots, connections, tasks."""

import asyncio
import random
from pathlib import Path
from typing import Any

from router.types import Sampling
from tests.gateway.harness import Running, running, until
from tests.gateway.model_server import DONE, Asked, ModelServer, begun, completion, delta, plain

ASK: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"


async def hesitating(asked: Asked) -> Any:
    await asyncio.sleep(0.005)
    if not asked.json.get("stream"):
        await asyncio.sleep(0.01)
        return plain(completion("x"))
    response = await begun(asked)
    for _ in range(6):
        await response.write(delta("x"))
        await asyncio.sleep(0.005)
    await response.write(DONE)
    return response


async def impatient_client(at: Running, seed: int) -> None:
    """One request that is given up at a random moment."""
    draw = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", at.gateway.port)
    stream = b"true" if draw.random() < 0.5 else b"false"
    body = b'{"model":"chat","stream":%s,"messages":[{"role":"user","content":"%d"}]}' % (stream, seed)
    head = b"POST %s HTTP/1.1\r\nhost: x\r\nauthorization: Bearer tut-data\r\ncontent-length: %d\r\n\r\n"
    writer.write((head % (PATH.encode(), len(body)) + body)[: draw.choice((20, 150, 10_000, 10_000, 10_000))])
    try:
        async with asyncio.timeout(draw.random() * 0.06):
            await reader.read()
    except TimeoutError:
        pass
    if draw.random() < 0.5 and writer.transport is not None:
        writer.transport.abort()
    writer.close()


async def test_after_a_storm_of_hang_ups_everything_is_back_at_its_base(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = student.script = hesitating
    sampling = Sampling(forward_bp=3_000, reverse_bp=3_000, salt="s", version=1)
    async with running(teacher, student, tmp_path, share_bp=5_000, sampling=sampling) as at:
        gateway = at.gateway
        for round_ in range(4):
            await asyncio.gather(*(impatient_client(at, round_ * 50 + number) for number in range(50)))
        await until(lambda: gateway.front.admission.open == 0)
        await until(lambda: gateway._shadows.taken == 0)
        assert [lane.calls for lane in gateway._lanes.all()] == [0, 0]
        assert [str(lane.state) for lane in gateway._lanes.all()] == ["closed", "closed"]
        client = at.http()
        answers = await asyncio.gather(*(client.post(PATH, json={**ASK, "stream": True}) for _ in range(20)))
        assert all(answer.status_code == 200 and answer.text.endswith("[DONE]\n\n") for answer in answers)
        counts = gateway._spool.counts()
        assert counts.balance == 0
        await until(lambda: gateway._spool.counts().in_queue == 0)
        ended = at.exchanges()
    outcomes = {exchange.outcome for exchange in ended}
    assert outcomes <= {"ok", "client_cancelled"}
    assert len(ended) == len({exchange.id for exchange in ended})
