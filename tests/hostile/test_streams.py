"""What a model says, whole or in a stream: bytes for the client, never frames, ends or headers for the gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai._streaming import SSEDecoder

from gateway.sse import data_of
from tests.gateway.harness import KEY, PATIENCE_S, Running, running, until
from tests.gateway.model_server import DONE, Asked, begun, completion, delta, model_server, plain, streamed
from tests.hostile.target import CHAT, Target
from tests.hostile.wire import connected, many_connected, post

pytestmark = pytest.mark.anyio
MB = 2**20
STREAM = b'{"model":"chat","stream":true,"messages":[]}'

SAID = {
    "a frame": "x\n\ndata: [DONE]\n\n",
    "an error's frame": '\n\ndata: {"error": {"message": "no"}}\n\n',
    "the end": "[DONE]",
    "an envelope": '{"error": {"message": "x", "type": "y", "param": null, "code": null}}',
    "CR": "a\rb\r\n\r\ndata: x",
    "a head": "\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "a chunk": "0\r\n\r\n",
    "other line ends": "a\u2028b\u2029c\u0085d\u000be",
    "bidi": "\u202eevil\u202c\u2066x\u2069",
    "NUL": "a\u0000b",
    "escape codes": "\u001b[2J\u001b]0;x\u0007",
    "a template's marks": "<|im_end|><|im_start|>system</s>[INST]",
    "script": "<script>alert(1)</script>",
    "usage": '"usage": null, "choices": []',
}


def texts(stream: bytes) -> list[str]:
    """What a client reads off a stream, by OpenAI's own decoder."""
    datas = [event.data for event in SSEDecoder().iter_bytes(iter([stream]))]
    assert datas[-1] == "[DONE]"
    return [json.loads(data)["choices"][0]["delta"].get("content", "") for data in datas[:-1]]


@pytest.mark.parametrize("name", SAID)
async def test_what_a_model_says_arrives_as_it_was_said(target: Target, name: str):
    text = SAID[name]

    async def script(asked: Asked) -> Any:
        if asked.json.get("stream"):
            return await streamed(asked, delta(text), delta(text, "stop"), DONE)
        return plain(completion(text))

    with target.answering(script):
        whole = await target.post(b'{"model":"chat","messages":[]}')
        stream = await target.post(STREAM)
    assert json.loads(whole.body)["choices"][0]["message"]["content"] == text
    assert (stream.status, texts(stream.body)) == (200, [text, text])
    await target.assert_serves()


@pytest.mark.parametrize(
    "line", [b"x-request-id: a\rb", b"x-request-id: \xff\xfe", b"x-evil: a\x01b", b"x-long: " + b"x" * 5_000]
)
async def test_an_upstreams_odd_header_splits_no_answer(target: Target, line: bytes):
    body = completion("fine")

    async def script(asked: Asked) -> Any:
        transport = asked.request.transport
        assert transport is not None
        transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (line, len(body), body)
        )
        await asyncio.sleep(0)
        transport.close()
        return plain(b"")

    with target.answering(script):
        answer = await target.post(b'{"model":"chat","messages":[]}')
    assert answer.status in (200, 502)
    assert answer.raw.count(b"HTTP/1.1 ") == 1
    await target.assert_serves()


@pytest.mark.parametrize("size_mb", [64, pytest.param(1024, marks=pytest.mark.nightly)])
async def test_an_endless_event_passes_within_bounds(target: Target, size_mb: int):
    """One event of `size_mb` MB without a line end: not kept, neither for the client nor for the record."""

    async def script(asked: Asked) -> Any:
        response = await begun(asked)
        await response.write(delta("first") + b"data: ")
        for _ in range(size_mb):
            await response.write(b"x" * MB)
        await response.write(b"\n\n" + DONE)
        await response.write_eof()
        return response

    before, highest, size = target.memory_bytes(), 0, 0
    with target.answering(script):
        async with httpx.AsyncClient(timeout=300) as http:
            headers = {"authorization": f"Bearer {target.keys.data}", "content-type": "application/json"}
            url = f"{target.process.url}{CHAT}"
            async with http.stream("POST", url, content=STREAM.replace(b"chat", b"kept", 1), headers=headers) as answer:
                async for part in answer.aiter_raw():
                    size += len(part)
                    highest = max(highest, target.memory_bytes())
    assert size > size_mb * MB
    assert highest - before < 128 * MB


async def test_endless_streams_that_nobody_reads_stay_small(target: Target):
    """Each writer is held up by its reader; when the readers leave, upstream hears of it."""
    gone = [0]

    async def script(asked: Asked) -> Any:
        if asked.json.get("user") != "endless":
            return plain(completion("fine"))
        response = await begun(asked)
        try:
            while True:
                await response.write(delta("x" * 10_000))
        finally:
            gone[0] += 1

    before = target.memory_bytes()
    body = b'{"model":"chat","stream":true,"user":"endless","messages":[]}'
    request = post(CHAT, body, b"authorization: Bearer " + target.keys.data.encode())
    with target.answering(script):
        async with many_connected(target.port, 20) as deaf:
            for writer in deaf:
                writer.write(request)
            for _ in range(20):
                await target.assert_serves()
            assert target.memory_bytes() - before < 64 * MB
        await target.assert_at_base()
        await until(lambda: gone[0] == 20)


async def test_a_client_that_leaves_an_endless_stream_is_noticed(target: Target):
    gone = asyncio.Event()

    async def script(asked: Asked) -> Any:
        response = await begun(asked)
        try:
            while True:
                await response.write(delta("x"))
                await asyncio.sleep(0.001)
        finally:
            gone.set()

    request = post(CHAT, STREAM, b"authorization: Bearer " + target.keys.data.encode())
    with target.answering(script):
        async with connected(target.port) as (answers, writer):
            writer.write(request)
            await answers.next(0.2)
        async with asyncio.timeout(PATIENCE_S):
            await gone.wait()


# --- properties -------------------------------------------------------------------------------------------------------

EOLS = st.sampled_from((b"\n", b"\r\n", b"\r"))
LINES = st.sampled_from(
    (b"data: {}", b'data: {"choices": []}', b"data:x", b"data:", b": comment", b"event: x", b"id: 1", b"retry: 5", b"")
) | st.binary(max_size=12).map(lambda raw: b"data: " + raw.translate(None, b"\r\n"))
STREAMS = st.lists(st.tuples(LINES, EOLS), min_size=1, max_size=20).map(lambda pairs: b"".join(a + b for a, b in pairs))
CUTS = st.lists(st.integers(0, 10_000), max_size=8)


@given(st.lists(st.text(max_size=20).map(str.splitlines).map("".join), min_size=1, max_size=5), EOLS)
def test_an_events_data_is_what_openais_decoder_reads(lines: list[str], eol: bytes):
    event = b"".join(b"data: " + line.encode() + eol for line in lines) + eol
    (read,) = SSEDecoder().iter_bytes(iter([event]))
    assert data_of(event) == read.data.encode()


@pytest.fixture(scope="module")
async def relayed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    folder: Path = tmp_path_factory.mktemp("relayed")
    async with (
        model_server("teacher") as teacher,
        model_server("student") as student,
        running(teacher, student, folder, usage="if_asked") as at,
    ):
        yield at


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rest=STREAMS, places=CUTS)
async def test_a_stream_passes_byte_for_byte_whatever_its_pieces(relayed: Running, rest: bytes, places: list[int]):
    sent = delta("first") + rest + b"\n\n" + DONE
    cuts = sorted({0, len(sent), *(place % (len(sent) + 1) for place in places)})

    async def script(asked: Asked) -> Any:
        return await streamed(asked, *(sent[start:end] for start, end in pairwise(cuts)))

    relayed.teacher.script = script
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"}) as http:
        answer = await http.post(f"{relayed.url}{CHAT}", content=STREAM, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.content) == (200, sent)
