"""Chat completions, with tools and with the functions that came before them, and completions; plain and streaming."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from tests.conformance.obedient.words import Asked, Call, Document, pieces, reply, text_of, words_in

DONE = "[DONE]"
CREATED = 1_700_000_000


def chat(body: Document) -> Document | Iterator[Document | str]:
    """`n` times the same answer: a whole one, or chunks that take turns."""
    messages = body["messages"]
    if not isinstance(body["model"], str) or not messages:
        raise ValueError("a model's name and a message are wanted")
    message, finish = _message(body, reply(_asked(body, messages)))
    usage = _usage(messages, message, body)
    if not body.get("stream"):
        choices = [
            {"index": index, "message": message, "finish_reason": finish, "logprobs": None} for index in _n(body)
        ]
        return _head(body, "chat.completion") | {"choices": choices, "usage": usage}
    deltas = [*_deltas(message), ({}, finish)]
    return _chunks(
        body, "chat.completion.chunk", [[{"delta": delta, "finish_reason": end} for delta, end in deltas]], usage
    )


def completions(body: Document) -> Document | Iterator[Document | str]:
    """Every prompt's answer, `n` times."""
    prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
    stops = _listed(body.get("stop"))
    texts = [str(reply(Asked(told=str(prompt), answered=False, stops=stops))) for prompt in prompts]
    usage = _usage(prompts, texts, body)
    if not body.get("stream"):
        named = [text for text in texts for _ in _n(body)]
        choices = [
            {"index": index, "text": text, "finish_reason": "stop", "logprobs": None}
            for index, text in enumerate(named)
        ]
        return _head(body, "text_completion") | {"choices": choices, "usage": usage}
    parts = [[*({"text": piece, "finish_reason": None} for piece in pieces(text))] for text in texts]
    return _chunks(body, "text_completion", [[*part, {"text": "", "finish_reason": "stop"}] for part in parts], usage)


def _asked(body: Document, messages: Sequence[Document]) -> Asked:
    last = messages[-1]
    tools = [tool["function"] for tool in body.get("tools") or [] if tool.get("type") == "function"]
    choice = body.get("tool_choice") or body.get("function_call") or "auto"
    if isinstance(choice, dict):
        choice = choice.get("function", choice)["name"]
    form = body.get("response_format") or {}
    return Asked(
        told=text_of(last.get("content")),
        answered=last["role"] in ("tool", "function"),
        tools=tuple(tools or body.get("functions") or ()),
        choice=choice,
        one_call="functions" in body or body.get("parallel_tool_calls") is False,
        schema=form["json_schema"]["schema"] if form.get("type") == "json_schema" else None,
        as_json=form.get("type") == "json_object",
        stops=_listed(body.get("stop")),
    )


def _message(body: Document, said: str | tuple[Call, ...]) -> tuple[Document, str]:
    """(message, finish reason)."""
    if isinstance(said, str):
        return {"role": "assistant", "content": said}, "stop"
    functions = [{"name": call.name, "arguments": call.arguments} for call in said]
    if "functions" in body:
        return {"role": "assistant", "content": None, "function_call": functions[0]}, "function_call"
    turn = len(body["messages"])
    calls = [
        {"id": f"call_{turn}_{number}", "type": "function", "function": function}
        for number, function in enumerate(functions)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"


def _deltas(message: Document) -> Iterator[tuple[Document, str | None]]:
    """Pieces of a few characters; a call's id and name come only first."""
    yield {"role": "assistant", "content": "" if message["content"] else None}, None
    for piece in pieces(message["content"] or ""):
        yield {"content": piece}, None
    if function := message.get("function_call"):
        yield {"function_call": {"name": function["name"], "arguments": ""}}, None
        for piece in pieces(function["arguments"]):
            yield {"function_call": {"arguments": piece}}, None
    for index, call in enumerate(message.get("tool_calls", ())):
        yield {"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": ""}}]}, None
        for piece in pieces(call["function"]["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, None


def _chunks(
    body: Document, kind: str, parts: Sequence[Sequence[Document]], usage: Document
) -> Iterator[Document | str]:
    """`parts` are the choices' pieces, by prompt; all choices take turns. Usage comes last where it was asked for."""
    counted = (body.get("stream_options") or {}).get("include_usage") is True
    head, null = _head(body, kind), ({"usage": None} if counted else {})
    for turn in zip_longest(*[part for part in parts for _ in _n(body)]):
        for index, choice in enumerate(turn):
            if choice is not None:
                yield head | {"choices": [{"index": index, **choice}]} | null
    if counted:
        yield head | {"choices": [], "usage": usage}
    yield DONE


def _head(body: Document, kind: str) -> Document:
    return {"id": "chatcmpl-obedient", "object": kind, "created": CREATED, "model": body["model"]}


def _usage(asked: Any, said: Any, body: Document) -> Document:
    prompt, completion = words_in(asked), words_in(said) * len(_n(body))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _n(body: Document) -> range:
    return range(body.get("n") or 1)


def _listed(stop: Any) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())
