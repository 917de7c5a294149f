"""A model server's answers at the endpoints beside chat, in the shapes that OpenAI documents."""

import json
from typing import Any

from aiohttp import web

from tests.gateway.model_server import DONE, Asked, Script, event, plain, streamed

USAGE = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}


def completing(text: str) -> Script:
    """`completions`: `text` after each prompt."""

    async def script(asked: Asked) -> web.StreamResponse:
        body = asked.json
        shape = {"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": "as-the-upstream-says"}
        usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        if not body.get("stream"):
            prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
            choices = [_choice(text, number, "stop") for number in range(len(prompts))]
            return plain(json.dumps({**shape, "choices": choices, "usage": usage}).encode())
        parts = [event({**shape, "choices": [_choice(word + " ", 0, None)]}) for word in text.split()]
        parts.append(event({**shape, "choices": [_choice("", 0, "stop")]}))
        if (body.get("stream_options") or {}).get("include_usage"):
            parts.append(event({**shape, "choices": [], "usage": usage}))
        return await streamed(asked, *parts, DONE)

    return script


def _choice(text: str, index: int, finish: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def embedding(*vector: float) -> Script:
    """`embeddings`: the same vector for each input."""

    async def script(asked: Asked) -> web.StreamResponse:
        inputs = asked.json["input"]
        count = len(inputs) if isinstance(inputs, list) else 1
        data = [{"object": "embedding", "index": index, "embedding": list(vector)} for index in range(count)]
        usage = {"prompt_tokens": 5, "total_tokens": 5}
        return plain(json.dumps({"object": "list", "data": data, "model": "e", "usage": usage}).encode())

    return script


def response(text: str, status: str = "completed", **more: Any) -> dict[str, Any]:
    """A response object."""
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1700000000,
        "model": "as-the-upstream-says",
        "status": status,
        "error": None,
        "incomplete_details": None,
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {**USAGE, "input_tokens_details": {}, "output_tokens_details": {}},
        **more,
    }


def typed(kind: str, number: int, **more: Any) -> bytes:
    """One event of a stream of responses."""
    data = json.dumps({"type": kind, "sequence_number": number, **more})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def response_events(text: str, last: str = "response.completed") -> list[bytes]:
    """A whole stream of responses, without any `[DONE]`."""
    begun = response("", "in_progress", output=[], usage=None)
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    deltas = [
        typed("response.output_text.delta", at, delta=word + " ", **place)
        for at, word in enumerate(text.split(), start=1)
    ]
    end = typed(last, len(deltas) + 1, response=response(text, last.removeprefix("response.")))
    return [typed("response.created", 0, response=begun), *deltas, end]


def responding(text: str) -> Script:
    """`responses`, plain or streamed."""

    async def script(asked: Asked) -> web.StreamResponse:
        if asked.json.get("stream"):
            return await streamed(asked, *response_events(text))
        return plain(json.dumps(response(text)).encode())

    return script
