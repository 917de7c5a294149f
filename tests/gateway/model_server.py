"""A scripted model server: real HTTP, answers as told, remembers what it was asked and which connections it lost."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Script = Callable[["Asked"], Awaitable[web.StreamResponse]]


@dataclass
class Asked:
    """One request as the server saw it."""

    request: web.Request
    body: bytes
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.request.headers.items()}


@dataclass
class ModelServer:
    """`script` answers every request; replace it in a test."""

    name: str
    script: Script
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(request=request, body=await request.read())
        self.asked.append(asked)
        try:
            return await self.script(asked)
        except (asyncio.CancelledError, ConnectionError):
            asked.gone.set()
            raise


@asynccontextmanager
async def model_server(name: str, script: Script | None = None) -> AsyncIterator[ModelServer]:
    server = ModelServer(name=name, script=script or answering(f"I am {name}"))
    app = web.Application(client_max_size=2**28)
    app.router.add_route("*", "/v1/{tail:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


def completion(text: str, **message: Any) -> bytes:
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "as-the-upstream-says",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, **message},
                    "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
                }
            ],
            "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
        },
        ensure_ascii=False,
    ).encode()


def event(data: Any) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def delta(text: str | None, finish: str | None = None, **more: Any) -> bytes:
    return event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": "as-the-upstream-says",
            "choices": [{"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}],
            **more,
        }
    )


USAGE = event(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "as-the-upstream-says",
        "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }
)
DONE = b"data: [DONE]\n\n"


def answering(text: str) -> Script:
    """A model that says `text`, streamed by words where asked to; usage as OpenAI sends it."""

    async def script(asked: Asked) -> web.StreamResponse:
        body = asked.json
        if not body.get("stream"):
            return plain(completion(text))
        counted = (body.get("stream_options") or {}).get("include_usage") is True
        null = {"usage": None} if counted else {}
        parts = [delta(word + " ", **null) for word in text.split()] + [delta(None, "stop", **null)]
        return await streamed(asked, *parts, *([USAGE] if counted else []), DONE)

    return script


def plain(body: bytes, status: int = 200, **headers: str) -> web.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(body=body, status=status, content_type="application/json", headers=named)


def failing(status: int, message: str = "no", **headers: str) -> Script:
    error = {"error": {"message": message, "type": "server_error", "param": None, "code": "x"}}

    async def script(asked: Asked) -> web.StreamResponse:
        return plain(json.dumps(error).encode(), status, **headers)

    return script


async def begun(asked: Asked, **headers: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8", **headers})
    await response.prepare(asked.request)
    return response


async def streamed(asked: Asked, *chunks: bytes) -> web.StreamResponse:
    response = await begun(asked)
    for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response


def breaking(*chunks: bytes) -> Script:
    """A stream that ends in a reset connection."""

    async def script(asked: Asked) -> web.StreamResponse:
        response = await begun(asked)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
        assert asked.request.transport is not None
        asked.request.transport.abort()
        return response

    return script


def hanging(*chunks: bytes) -> Script:
    """A stream that falls silent after `chunks`; without any not even its head comes."""

    async def script(asked: Asked) -> web.StreamResponse:
        response = None
        if chunks:
            response = await begun(asked)
            for chunk in chunks:
                await response.write(chunk)
        await asyncio.Event().wait()
        assert response is not None
        return response

    return script
