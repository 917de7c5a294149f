"""What every upstream must do, whatever it speaks: run over each kind by a subclass that says how it is built.

Contract        any upstream: replies, refusals, deadlines, cancellation, no cross-talk
WireContract    those that relay bytes: framing, keep-alive, back-pressure, limits
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.upstreams.base import Call, ConnectFailed, Deadlines, Reply, ReplyBroken, TimedOut, Upstream
from tests.gateway.upstreams.server import Exchange, Script, Server, eventually, scripted

PATIENT = Deadlines(connect_s=20, first_token_s=20, idle_s=20, total_s=60)
JSON = b"content-type: application/json\r\n"
EVENTS = b"content-type: text/event-stream\r\n"


def call(content: str = "hi", *, deadlines: Deadlines = PATIENT, stream: bool = False) -> Call:
    fields: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": content}]}
    body = json.dumps(fields | ({"stream": True} if stream else {})).encode()
    headers = [(b"content-type", b"application/json")]
    return Call(method="POST", path="/chat/completions", headers=headers, body=body, deadlines=deadlines)


def completion(content: str) -> bytes:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    shape = {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(shape).encode()


def event(content: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": finish}
    shape = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(shape).encode() + b"\n\n"


def failure(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "t", "param": None, "code": None}}).encode()


def content_of(body: bytes) -> str:
    return str(json.loads(body)["choices"][0]["message"]["content"])


def text_of(stream: bytes) -> str:
    """The text of all deltas of an SSE body."""
    shapes = [json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: {")]
    return "".join(shape["choices"][0]["delta"].get("content") or "" for shape in shapes if shape["choices"])


async def body_of(reply: Reply) -> bytes:
    return b"".join([chunk async for chunk in reply.chunks()])


async def ask(upstream: Upstream, what: Call) -> tuple[int, bytes]:
    """Status and body of a call, its reply closed."""
    reply = await upstream.open(what)
    try:
        return reply.status, await body_of(reply)
    finally:
        await reply.aclose()


async def silent(exchange: Exchange) -> None:
    await exchange.until_closed()


async def echo(exchange: Exchange) -> None:
    """Answer with the last message, streamed where that was asked for."""
    asked = json.loads(exchange.body)
    content = asked["messages"][-1]["content"]
    if not asked.get("stream"):
        await exchange.answer(completion(content), headers=JSON)
        return
    await exchange.begin_chunked(EVENTS)
    for letter in content:
        await exchange.chunk(event(letter))
    await exchange.chunk(event("", "stop"))
    await exchange.chunk(b"data: [DONE]\n\n")
    await exchange.end_chunked()


class Contract:
    """Subclass it as `Test…` and say how the upstream is built."""

    def build(self, url: str, *, max_connections: int = 64) -> Upstream:
        raise AssertionError(f"say how an upstream at {url} with {max_connections} connections is built")

    @asynccontextmanager
    async def serving(self, script: Script, *, max_connections: int = 64) -> AsyncIterator[tuple[Upstream, Server]]:
        async with scripted(script) as server:
            upstream = self.build(server.url, max_connections=max_connections)
            try:
                yield upstream, server
            finally:
                await upstream.aclose()

    async def test_a_plain_answer_arrives_with_status_and_type(self):
        async with self.serving(echo) as (upstream, server):
            reply = await upstream.open(call("grüße"))
            assert reply.status == 200
            assert dict(reply.headers)[b"content-type"].startswith(b"application/json")
            assert content_of(await body_of(reply)) == "grüße"
            await reply.aclose()
            assert server.requests[0].path == "/v1/chat/completions"

    async def test_the_key_of_the_upstream_is_sent(self):
        async with self.serving(echo) as (upstream, server):
            await ask(upstream, call())
            assert server.requests[0].headers["authorization"] == "Bearer the-key"

    async def test_a_stream_arrives_as_events_and_ends_with_done(self):
        async with self.serving(echo) as (upstream, _):
            status, body = await ask(upstream, call("stream of letters", stream=True))
            assert status == 200
            assert text_of(body) == "stream of letters"
            assert body.endswith(b"data: [DONE]\n\n")

    async def test_events_arrive_one_by_one_and_not_at_the_end(self):
        go_on = asyncio.Event()

        async def script(exchange: Exchange) -> None:
            await exchange.begin_chunked(EVENTS)
            await exchange.chunk(event("first"))
            await go_on.wait()
            await exchange.chunk(event("second", "stop") + b"data: [DONE]\n\n")
            await exchange.end_chunked()

        async with self.serving(script) as (upstream, _):
            reply = await upstream.open(call(stream=True))
            chunks = aiter(reply.chunks())
            assert text_of(await anext(chunks)) == "first"
            go_on.set()
            assert text_of(b"".join([chunk async for chunk in chunks])) == "second"
            await reply.aclose()

    @pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 503])
    async def test_an_error_of_the_server_is_a_reply_and_is_not_tried_again(self, status: int):
        async def script(exchange: Exchange) -> None:
            await exchange.answer(failure("no such luck"), status=status, headers=JSON + b"retry-after: 7\r\n")

        async with self.serving(script) as (upstream, server):
            reply = await upstream.open(call())
            assert reply.status == status
            error = json.loads(await body_of(reply))["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert "no such luck" in error["message"]
            assert dict(reply.headers)[b"retry-after"] == b"7"
            await reply.aclose()
            assert len(server.requests) == 1

    async def test_nobody_listening_is_a_failed_connect(self):
        async with scripted(echo) as server:
            pass
        upstream = self.build(server.url)
        with pytest.raises(ConnectFailed):
            await upstream.open(call())
        await upstream.aclose()

    @pytest.mark.parametrize("stream", [False, True])
    async def test_silence_ends_at_the_first_token_deadline(self, stream: bool):
        async with self.serving(silent) as (upstream, server):
            with pytest.raises(TimedOut) as fault:
                await ask(upstream, call(deadlines=replace(PATIENT, first_token_s=0.1), stream=stream))
            assert fault.value.kind == "timeout_first_token"
            await eventually(lambda: server.closed == server.connections)

    async def test_a_head_without_a_body_is_no_first_token(self):
        async def script(exchange: Exchange) -> None:
            await exchange.begin_chunked(EVENTS)
            await exchange.until_closed()

        async with self.serving(script) as (upstream, _):
            with pytest.raises(TimedOut) as fault:
                await ask(upstream, call(deadlines=replace(PATIENT, first_token_s=0.1), stream=True))
            assert fault.value.kind == "timeout_first_token"

    @pytest.mark.parametrize(("which", "within_s"), [("idle", 0.3), ("total", 1.0)])
    async def test_a_stall_inside_the_stream_ends_at_its_deadline(self, which: str, within_s: float):
        async def script(exchange: Exchange) -> None:
            await exchange.begin_chunked(EVENTS)
            await exchange.chunk(event("begun"))
            await exchange.until_closed()

        deadlines = replace(PATIENT, **{f"{which}_s": within_s})
        async with self.serving(script) as (upstream, server):
            reply = await upstream.open(call(deadlines=deadlines, stream=True))
            chunks = aiter(reply.chunks())
            assert text_of(await anext(chunks)) == "begun"
            with pytest.raises(TimedOut) as fault:
                await anext(chunks)
            assert fault.value.kind == f"timeout_{which}"
            await reply.aclose()
            await eventually(lambda: server.closed == server.connections)

    @pytest.mark.parametrize("end", [Exchange.reset, Exchange.close])
    async def test_a_stream_cut_short_raises_after_what_had_arrived(self, end: Any):
        cut = asyncio.Event()

        async def script(exchange: Exchange) -> None:
            await exchange.begin_chunked(EVENTS)
            await exchange.chunk(event("begun"))
            await cut.wait()
            end(exchange)

        async with self.serving(script) as (upstream, _):
            reply = await upstream.open(call(stream=True))
            chunks = aiter(reply.chunks())
            assert text_of(await anext(chunks)) == "begun"
            cut.set()
            with pytest.raises(ReplyBroken):
                await anext(chunks)
            await reply.aclose()

    async def test_a_call_cancelled_before_its_answer_closes_the_connection(self):
        async with self.serving(silent) as (upstream, server):
            task = asyncio.create_task(upstream.open(call()))
            await eventually(lambda: len(server.requests) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await eventually(lambda: server.closed == server.connections)

    async def test_a_reply_closed_before_its_end_closes_the_connection(self):
        async def script(exchange: Exchange) -> None:
            await exchange.begin_chunked(EVENTS)
            await exchange.chunk(event("begun"))
            await exchange.until_closed()

        async with self.serving(script) as (upstream, server):
            reply = await upstream.open(call(stream=True))
            chunks = aiter(reply.chunks())
            assert await anext(chunks)
            await reply.aclose()
            await reply.aclose()
            await eventually(lambda: server.closed == server.connections)

    async def test_every_reply_is_the_one_to_its_call(self):
        async with self.serving(echo, max_connections=4) as (upstream, _):

            async def one(number: int) -> bool:
                stream = number % 2 == 0
                what = call(f"question {number}", stream=stream)
                if number % 5 == 4:  # some give up, at any point
                    with suppress(TimeoutError):
                        async with asyncio.timeout(number * 0.0004):
                            await ask(upstream, what)
                    return True
                _, body = await ask(upstream, what)
                return (text_of(body) if stream else content_of(body)) == f"question {number}"

            assert all(await asyncio.gather(*(one(number) for number in range(60))))
