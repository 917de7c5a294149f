"""A model that does what a request asks, by its own words: calls the tools that it is given, fills the schema that it must answer
in, stops where it is told, refuses with the status that it is asked for, and else says back what it was told last. No model is
behind it, and it knows no suite.

`words` decides what is said, the other files are OpenAI's endpoints around it: `chat` (with completions), `responses`, `others`.
To add an endpoint: its function, and its line in `ANSWERS`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.conformance.obedient import chat, others, responses
from tests.conformance.obedient.words import Document, Refused

THINKING_S = 0.02
PIECE_S = 0.001
"""A client that gives up after 5 ms, or in the middle of a stream, must find something to give up on."""
Answering = Callable[[Document], Document | Iterable[Document | str]]

ANSWERS: dict[str, Answering] = {
    "chat/completions": chat.chat,
    "completions": chat.completions,
    "embeddings": others.embeddings,
    "responses": responses.responses,
}


@asynccontextmanager
async def obedient(_: Path) -> AsyncIterator[str]:
    """The server; its base URL."""
    app = web.Application(client_max_size=2**26)
    for path, answering in ANSWERS.items():
        app.router.add_post(f"/v1/{path}", _handler(answering))
    app.router.add_routes(others.routes())
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def _handler(answering: Answering) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(THINKING_S)
        try:
            answer = answering(await request.json())
        except Refused as refused:
            return _error(refused.status, f"You asked for a {refused.status}.")
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            return _error(400, f"{fault!r}")
        if isinstance(answer, dict):
            return web.json_response(answer, headers=_named(answer))
        return await _streamed(request, answer)

    return handle


async def _streamed(request: web.Request, events: Iterable[Document | str]) -> web.StreamResponse:
    """Each event as it is made; a typed one names its type beside its data, as Responses does."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8", **_named({})})
    await response.prepare(request)
    for event in events:
        data = event if isinstance(event, str) else json.dumps(event)
        kind = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
        await response.write(f"{kind}data: {data}\n\n".encode())
        await asyncio.sleep(PIECE_S)
    await response.write_eof()
    return response


def _named(answer: Document) -> dict[str, str]:
    return {"x-request-id": f"req_{answer.get('id', 'obedient')}", "openai-processing-ms": "1"}


def _error(status: int, message: str) -> web.Response:
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": f"code_{status}"}
    return web.json_response({"error": error}, status=status, headers=_named({}))
