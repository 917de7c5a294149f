"""A chat model that does what a request asks, by its own words: calls the tools that it is given, fills the schema that it must
answer in, stops where it is told, and else says back what it was told last. No model is behind it, and it knows no suite.

It speaks OpenAI's chat completions, plain and streaming, and refuses what is no request with OpenAI's envelope.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

PIECE_CHARACTERS = 7
Document = dict[str, Any]


@asynccontextmanager
async def obedient(_: Path) -> AsyncIterator[str]:
    """The server; its base URL."""
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", _answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def _answer(request: web.Request) -> web.StreamResponse:
    try:
        body = await request.json()
        message, finish = reply(body)
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        error = {"message": f"{fault!r}", "type": "invalid_request_error", "param": None, "code": None}
        return web.json_response({"error": error}, status=400)
    usage = _usage(body, message)
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return web.json_response(_head(body, "chat.completion") | {"choices": [choice], "usage": usage})
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    counted = (body.get("stream_options") or {}).get("include_usage") is True
    for event in _events(body, message, finish, usage if counted else None):
        await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def reply(body: Document) -> tuple[Document, str]:
    """(message, finish reason) for a request."""
    messages = body["messages"]
    if not isinstance(body["model"], str) or not messages:
        raise ValueError("a model's name and a message are wanted")
    told = _text(messages[-1].get("content"))
    called = _called(body, messages, told)
    if called:
        calls = [
            {
                "id": f"call_{len(messages)}_{number}",
                "type": "function",
                "function": {"name": tool["name"], "arguments": json.dumps(_fill(tool.get("parameters") or {}, told))},
            }
            for number, tool in enumerate(called)
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"
    return {"role": "assistant", "content": _said(body, told)}, "stop"


def _called(body: Document, messages: list[Document], told: str) -> list[Document]:
    """The tools that are called: the one that is asked for by choice or by name, else the first; none once one has answered."""
    tools = [tool["function"] for tool in body.get("tools") or [] if tool.get("type") == "function"]
    choice = body.get("tool_choice") or "auto"
    if not tools or choice == "none":
        return []
    if isinstance(choice, dict):
        return [tool for tool in tools if tool["name"] == choice["function"]["name"]]
    if messages[-1]["role"] == "tool" and choice == "auto":
        return []
    return [tool for tool in tools if tool["name"] in told][:1] or tools[:1]


def _said(body: Document, told: str) -> str:
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        return json.dumps(_fill(form["json_schema"]["schema"], told))
    if form.get("type") == "json_object":
        return json.dumps(dict.fromkeys(re.findall(r"[`'\"](\w+)[`'\"]", told), told[:40]) or {"said": told[:40]})
    said = f"You said: {told}" if told else "You said nothing."
    stops = body.get("stop") or []
    ends = [said.find(stop) for stop in ([stops] if isinstance(stops, str) else stops)]
    return said[: min((end for end in ends if end >= 0), default=len(said))]


def _fill(schema: Mapping[str, Any], told: str, defs: Mapping[str, Any] | None = None) -> Any:
    """A value that fits a JSON schema, of what was told where that fits."""
    defs = {**(defs or {}), **schema.get("$defs", {}), **schema.get("definitions", {})}
    if "$ref" in schema:
        return _fill(defs[schema["$ref"].rpartition("/")[2]], told, defs)
    for name in ("anyOf", "oneOf", "allOf"):
        if name in schema:
            return _fill(next((part for part in schema[name] if part.get("type") != "null"), {}), told, defs)
    if "const" in schema or "enum" in schema:
        return schema.get("const", next(iter(schema.get("enum", ())), None))
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: _fill(part, told, defs) for name, part in (schema.get("properties") or {}).items()}
    if kind == "array":
        return [_fill(schema.get("items") or {}, told, defs)]
    numbers = re.findall(r"-?\d+", told)
    plain: Document = {"integer": int(numbers[0]) if numbers else 1, "number": float(numbers[0]) if numbers else 1.0}
    return {**plain, "boolean": True, "null": None}.get(kind, told[:200] or "text")


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content if part.get("type") == "text")
    return content or ""


def _usage(body: Document, message: Document) -> Document:
    asked = len(json.dumps(body["messages"]).split())
    said = len(json.dumps(message).split())
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _head(body: Document, kind: str) -> Document:
    return {"id": "chatcmpl-obedient", "object": kind, "created": 1_700_000_000, "model": body["model"]}


def _events(body: Document, message: Document, finish: str, usage: Document | None) -> Iterator[Document]:
    """The chunks of an answer, pieces of a few characters each. `usage` comes last where it was asked for."""
    head = _head(body, "chat.completion.chunk")
    null = {} if usage is None else {"usage": None}

    def chunk(delta: Document, end: str | None = None) -> Document:
        return head | {"choices": [{"index": 0, "delta": delta, "finish_reason": end}]} | null

    yield chunk({"role": "assistant", "content": None if "tool_calls" in message else ""})
    for piece in _pieces(message.get("content") or ""):
        yield chunk({"content": piece})
    for index, call in enumerate(message.get("tool_calls", ())):
        begun = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
        yield chunk({"tool_calls": [begun]})
        for piece in _pieces(call["function"]["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, finish)
    if usage is not None:
        yield head | {"choices": [], "usage": usage}


def _pieces(text: str) -> Iterator[str]:
    yield from (text[at : at + PIECE_CHARACTERS] for at in range(0, len(text), PIECE_CHARACTERS))
