"""Answers in one JSON body: what they say, what they cost and how they ended. Pure; raises Malformed.

Must not know of streams, attempts or policies. To add an endpoint: one reader, its line in `answers.py`.
"""

from typing import Any

import msgspec

from tutelage.capture.loose import as_count, as_index, as_object, as_objects, as_optional, as_text
from tutelage.contracts.records import Answer, Json, Usage

MALFORMED = "malformed"
ERROR_EVENT = "error_event"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `error` is None for a whole answer; `broke` tells that a stream stopped before its end."""

    answer: Answer | None = None
    usage: Usage | None = None
    fingerprint: str | None = None
    error: str | None = None
    broke: bool = False


def read_chat(body: dict[str, Any]) -> Reading:
    """`chat.completions`, and `completions`, whose choices have `text` instead of `message`."""
    choices = as_objects(body.get("choices"))
    if len(choices) > 1:
        choices = sorted(choices, key=lambda choice: as_index(choice.get("index")))
    if "choices" not in body:
        return Reading(error=ERROR_EVENT if "error" in body else MALFORMED)
    first = choices[0] if choices else {}
    return Reading(
        answer=answer_of(
            [_message_of(choice) for choice in choices], first.get("finish_reason"), first.get("logprobs")
        ),
        usage=read_usage(body.get("usage")),
        fingerprint=as_text(body.get("system_fingerprint")),
    )


def _message_of(choice: dict[str, Any]) -> dict[str, Any]:
    if isinstance(choice.get("text"), str):
        return {"role": "assistant", "content": choice["text"]}
    return as_object(choice.get("message"))


def answer_of(messages: list[dict[str, Any]], finish_reason: object, logprobs: Json) -> Answer:
    """The answer whose choices are `messages`, in order. What the first one says stands beside them."""
    first = messages[0] if messages else {}
    calls = first.get("tool_calls")
    return Answer(
        text=as_text(first.get("content")),
        choices=tuple(messages),
        finish_reason=as_text(finish_reason),
        refusal=as_text(first.get("refusal")),
        tool_calls=() if calls is None else tuple(as_objects(calls)),
        logprobs=logprobs,
    )


def read_response(body: dict[str, Any]) -> Reading:
    """`responses`: items of output; messages become choices, function calls become tool calls of the API's chat shape."""
    items = as_objects(body.get("output"))
    parts = [part for item in items if item.get("type") == "message" for part in as_objects(item.get("content"))]
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    refusals = [part["refusal"] for part in parts if isinstance(part.get("refusal"), str)]
    calls = [_tool_call(item) for item in items if item.get("type") == "function_call"]
    status = as_text(body.get("status"))
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts else None,
        "refusal": "".join(refusals) if refusals else None,
    }
    if calls:
        message["tool_calls"] = calls
    reason = as_text(as_optional(body.get("incomplete_details")).get("reason"))
    return Reading(
        answer=answer_of([message], "stop" if status == "completed" else reason or status, None),
        usage=read_usage(body.get("usage")),
        error=ERROR_EVENT if status == "failed" else None,
    )


def _tool_call(item: dict[str, Any]) -> dict[str, Any]:
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def read_opaque(body: dict[str, Any]) -> Reading:
    """Embeddings and what else is no text: only what it cost."""
    return Reading(usage=read_usage(body.get("usage")))


def read_usage(usage: Json) -> Usage | None:
    """Tokens as counted by the upstream, in the names of chat or of responses; None where there are none."""
    if not isinstance(usage, dict):
        return None
    prompt = as_count(usage.get("prompt_tokens", usage.get("input_tokens")))
    completion = as_count(usage.get("completion_tokens", usage.get("output_tokens")))
    if prompt is None and completion is None:
        return None
    into = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    out = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    return Usage(
        prompt=prompt,
        completion=completion,
        cached=None if into is None else as_count(as_object(into).get("cached_tokens")),
        reasoning=None if out is None else as_count(as_object(out).get("reasoning_tokens")),
    )
