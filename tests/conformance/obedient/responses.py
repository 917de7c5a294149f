"""Responses: items in, items out, and the typed events of their making."""

from collections.abc import Iterator
from typing import Any

from tests.conformance.obedient.words import Asked, Call, Document, pieces, reply, text_of, words_in

CREATED = 1_700_000_000


def responses(body: Document) -> Document | Iterator[Document | str]:
    """A whole response, or the events of one."""
    items = body["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    output = _output(reply(_asked(body, items[-1])), len(items))
    whole = _response(body, items, output)
    return _events(whole) if body.get("stream") else whole


def _asked(body: Document, last: Document) -> Asked:
    answered = last.get("type") == "function_call_output"
    choice = body.get("tool_choice") or "auto"
    form = (body.get("text") or {}).get("format") or {}
    return Asked(
        told=text_of(last["output"] if answered else last["content"]),
        answered=answered,
        tools=tuple(tool for tool in body.get("tools") or () if tool["type"] == "function"),
        choice=choice["name"] if isinstance(choice, dict) else choice,
        one_call=body.get("parallel_tool_calls") is False,
        schema=form["schema"] if form.get("type") == "json_schema" else None,
        as_json=form.get("type") == "json_object",
    )


def _output(said: str | tuple[Call, ...], turn: int) -> list[Document]:
    if isinstance(said, str):
        text = {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
        return [
            {"id": "msg_obedient", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
        ]
    return [
        {
            "id": f"fc_{turn}_{number}", "type": "function_call", "status": "completed", "call_id": f"call_{turn}_{number}",
            "name": call.name, "arguments": call.arguments,
        }
        for number, call in enumerate(said)
    ]  # fmt: skip


def _response(body: Document, items: Any, output: list[Document]) -> Document:
    asked, said = words_in(items), words_in(output)
    usage = {
        "input_tokens": asked, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": asked + said,
    }  # fmt: skip
    return {
        "id": "resp_obedient", "object": "response", "created_at": CREATED, "status": "completed", "model": body["model"],
        "output": output, "usage": usage, "error": None, "incomplete_details": None, "metadata": {},
        "instructions": body.get("instructions"), "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "temperature": 1.0, "top_p": 1.0, "tool_choice": body.get("tool_choice", "auto"), "tools": body.get("tools", []),
        "text": body.get("text") or {"format": {"type": "text"}}, "store": body.get("store", True),
    }  # fmt: skip


def _events(whole: Document) -> Iterator[Document]:
    """Numbered, as the client expects them."""
    for number, event in enumerate(_unnumbered(whole)):
        yield event | {"sequence_number": number}


def _unnumbered(whole: Document) -> Iterator[Document]:
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(whole["output"]):
        at = {"output_index": index, "item_id": item["id"]}
        empty: Document = {"content": []} if item["type"] == "message" else {"arguments": ""}
        item_begun = {**item, **empty, "status": "in_progress"}
        yield {"type": "response.output_item.added", "output_index": index, "item": item_begun}
        yield from _text_events(item["content"][0], at) if item["type"] == "message" else _call_events(item, at)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": whole}


def _text_events(part: Document, at: Document) -> Iterator[Document]:
    here = at | {"content_index": 0}
    yield {"type": "response.content_part.added", **here, "part": part | {"text": ""}}
    for piece in pieces(part["text"]):
        yield {"type": "response.output_text.delta", **here, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **here, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **here, "part": part}


def _call_events(item: Document, at: Document) -> Iterator[Document]:
    for piece in pieces(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
    yield {"type": "response.function_call_arguments.done", **at, "name": item["name"], "arguments": item["arguments"]}
