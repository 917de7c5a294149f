"""The mock model server says what it is told to, over a real connection."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from loadtests.bench.upstream import Answering, Counts


@asynccontextmanager
async def upstream() -> AsyncIterator[httpx.AsyncClient]:
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(lambda: Answering(counts), "127.0.0.1", 0)
    async with server, httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        yield client


def body(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


async def test_arms_say_different_things_of_the_same_length_and_a_judge_gives_a_verdict():
    async with upstream() as client:
        teacher = await client.post("/teacher/v1/chat/completions", json=body())
        student = await client.post("/student/v1/chat/completions", json=body())
        judge = await client.post("/judge/v1/chat/completions", json=body())
        counted = (await client.get("/stats")).json()
    assert teacher.content != student.content
    assert len(teacher.content) == len(student.content)
    assert set(json.loads(judge.json()["choices"][0]["message"]["content"])) == {"rationale", "a", "b"}
    assert (counted["requests"], counted["verdicts"]) == (3, 1)


async def test_a_stream_has_the_events_that_its_text_orders_and_usage_where_asked_for():
    async with upstream() as client:
        ordered = body("go chunks=7 gap_ms=0", stream=True, stream_options={"include_usage": True})
        answer = await client.post("/v1/chat/completions", json=ordered)
        counted = (await client.get("/stats")).json()
    events = answer.text.split("\n\n")
    assert [event == "data: [DONE]" for event in events[-2:]] == [True, False]
    assert len([event for event in events if '"choices":[{' in event]) == 7
    assert '"usage":{' in events[-3]
    assert (counted["events"], counted["open"]) == (7, 0)


async def test_a_held_stream_stays_open_until_the_client_goes():
    async with upstream() as client:
        ordered = body("go chunks=3 gap_ms=0 then=hold", stream=True)
        async with client.stream("POST", "/v1/chat/completions", json=ordered) as answer:
            seen = ""
            async for piece in answer.aiter_text():
                seen += piece
                if seen.count("data:") == 3:
                    break
            assert (await client.get("/stats")).json()["open"] == 1
