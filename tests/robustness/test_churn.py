"""R6: after storms everything is back at its base: open requests, calls, permits, shadow slots, connections, tasks, files."""

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.upstreams.http import HttpPool
from gateway.upstreams.openai import OpenAIUpstream
from router.types import Sampling
from tests.gateway.harness import Running, running, until
from tests.gateway.model_server import DONE, Asked, begun, completion, delta, model_server, plain
from tests.robustness.conftest import Figure

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


def few_connections(content: dict[str, Any]) -> None:
    for upstream in content["upstreams"].values():
        upstream["max_connections"] = 10
        upstream["deadlines"] = {"connect": "60s"}  # a hundred share them: on a busy machine the last waits for long


def pools_of(at: Running) -> list[HttpPool]:
    upstreams = [lane.upstream for lane in at.gateway._lanes.all()]
    return [replica.pool for each in upstreams if isinstance(each, OpenAIUpstream) for replica in each.replicas]


def held(at: Running) -> tuple[int, int]:
    """Tasks and files of this process, without what the connections are that pools keep: two files each, and a task of the
    model server beside us."""
    kept = sum(pool.open_connections for pool in pools_of(at))
    files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return len(asyncio.all_tasks()) - kept, files - 2 * kept


@pytest.mark.parametrize("seconds", [1.5, pytest.param(60, marks=pytest.mark.nightly)])
async def test_after_a_storm_of_hang_ups_everything_is_back_at_its_base(seconds: float, tmp_path: Path, figure: Figure):
    sampling = Sampling(forward_bp=3_000, reverse_bp=3_000, salt="s", version=1)
    async with (
        model_server("teacher", hesitating) as teacher,
        model_server("student", hesitating) as student,
        running(teacher, student, tmp_path, share_bp=5_000, sampling=sampling, change=few_connections) as at,
    ):
        gateway, client = at.gateway, at.http()

        async def hundred() -> int:
            """How many of a hundred requests at once succeed; afterwards all is quiet."""
            answers = await asyncio.gather(*(client.post(PATH, json={**ASK, "stream": True}) for _ in range(100)))
            await until(lambda: gateway.front.admission.open == 0 and gateway._shadows.taken == 0)
            return sum(answer.status_code == 200 and answer.text.endswith("[DONE]\n\n") for answer in answers)

        assert await hundred() == 100
        base = held(at)
        began, asked = time.monotonic(), 0
        while time.monotonic() < began + seconds:
            await asyncio.gather(*(impatient_client(at, asked + number) for number in range(50)))
            asked += 50
        await until(lambda: gateway.front.admission.open == 0)
        await until(lambda: gateway._shadows.taken == 0)
        assert [lane.calls for lane in gateway._lanes.all()] == [0, 0]
        assert [str(lane.state) for lane in gateway._lanes.all()] == ["closed", "closed"]
        good = await hundred()
        assert all(pool.open_connections <= 10 and pool.outstanding == 0 for pool in pools_of(at))
        await until(lambda: max(now - then for now, then in zip(held(at), base, strict=True)) <= 2)
        tasks, files = (now - then for now, then in zip(held(at), base, strict=True))
        figure(
            "R6",
            f"{seconds:g} s of hang-ups ({asked}) on 10 connections: then 100 requests / tasks / files above base",
            "100 / 0 / 0, ± 2",
            f"{good} / {max(0, tasks)} / {max(0, files)}",
        )
        assert good == 100
        assert max(tasks, files) <= 50, (
            "connections that are kept for the next call are files, and tasks of the models beside us"
        )
        counts = gateway._spool.counts()
        assert counts.balance == 0
        await until(lambda: gateway._spool.counts().in_queue == 0)
        ended = at.exchanges()
    assert {exchange.outcome for exchange in ended} <= {"ok", "client_cancelled"}
    assert len(ended) == len({exchange.id for exchange in ended})
