"""What an upstream answered: from the bytes of a reply to an `Answer`, its usage and its end. Pure, and it never raises.

A JSON body is read as it is, a stream is assembled from its deltas, so that the same answer reads the same however it
came and however the network cut it. What cannot be read is `error="malformed"` without an answer; a stream that stops
before its end keeps what came, with `broke`. Must not know of attempts, policies or records beside `Answer` and `Usage`.

To add an endpoint: one reader of bodies and one of streams, one line each in the tables below.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tutelage.contracts.records import Answer, Json, Usage

MALFORMED = "malformed"
ERROR_EVENT = "error_event"
TRUNCATED = "truncated"

_decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode
_INT_LIMITS = (-(2**63), 2**64 - 1)
_MAX_DEPTH = 200


class Malformed(ValueError):
    """These bytes are not what the endpoint answers."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `error` is None for a whole answer; `broke` tells that a stream stopped before its end."""

    answer: Answer | None = None
    usage: Usage | None = None
    fingerprint: str | None = None
    error: str | None = None
    broke: bool = False


def read_answer(body: bytes, *, endpoint: str, content_type: str | None) -> Reading:
    """The answer in the body of a successful reply. `content_type` is the reply's own; without one the bytes decide."""
    try:
        if is_stream(body, content_type):
            return _STREAMS.get(endpoint, _read_opaque_stream)(body)
        return _BODIES.get(endpoint, _read_opaque)(_object(read_json(body)))
    except (Malformed, RecursionError):
        return Reading(error=MALFORMED)


def read_json(body: bytes) -> Json:
    """The value behind JSON bytes, such that a record can hold it: lone surrogates become U+FFFD, numbers beyond 64 bits floats.

    Raises Malformed.
    """
    try:
        return _decode(body)
    except RecursionError:
        raise Malformed("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return _storable(json.loads(body.decode("utf-8"), parse_constant=lambda _: None), _MAX_DEPTH)
    except (ValueError, RecursionError) as fault:
        raise Malformed(type(fault).__name__) from None


def _storable(value: Json, depth: int) -> Json:
    if depth == 0:
        raise Malformed("nested too deeply")
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_storable(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {_storable(key, 1): _storable(item, depth - 1) for key, item in value.items()}
    if isinstance(value, int) and not _INT_LIMITS[0] <= value <= _INT_LIMITS[1]:
        return float(value) if abs(value) < 1e300 else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def is_stream(body: bytes, content_type: str | None) -> bool:
    """Whether a reply's body is a stream of events."""
    if content_type is not None and content_type.strip():
        return content_type.lower().startswith("text/event-stream")
    return body.lstrip().startswith((b"data:", b"event:", b"id:", b":"))


# --- one JSON body ----------------------------------------------------------------------------------------------------


def _read_chat(body: dict[str, Any]) -> Reading:
    """`chat.completions`, and `completions`, whose choices have `text` instead of `message`."""
    choices = sorted(_objects(body.get("choices")), key=lambda choice: _index(choice.get("index")))
    if "choices" not in body:
        return Reading(error=ERROR_EVENT if "error" in body else MALFORMED)
    first = choices[0] if choices else {}
    return Reading(
        answer=_answer([_message_of(choice) for choice in choices], first.get("finish_reason"), first.get("logprobs")),
        usage=read_usage(body.get("usage")),
        fingerprint=_text(body.get("system_fingerprint")),
    )


def _message_of(choice: dict[str, Any]) -> dict[str, Any]:
    if isinstance(choice.get("text"), str):
        return {"role": "assistant", "content": choice["text"]}
    return _object(choice.get("message"))


def _answer(messages: list[dict[str, Any]], finish_reason: object, logprobs: Json) -> Answer:
    first = messages[0] if messages else {}
    return Answer(
        text=_text(first.get("content")),
        choices=tuple(messages),
        finish_reason=_text(finish_reason),
        refusal=_text(first.get("refusal")),
        tool_calls=tuple(_objects(first.get("tool_calls"))),
        logprobs=logprobs,
    )


def _read_response(body: dict[str, Any]) -> Reading:
    """`responses`: items of output; messages become choices, function calls become tool calls of the API's chat shape."""
    items = _objects(body.get("output"))
    parts = [part for item in items if item.get("type") == "message" for part in _objects(item.get("content"))]
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    refusals = [part["refusal"] for part in parts if isinstance(part.get("refusal"), str)]
    calls = [_tool_call(item) for item in items if item.get("type") == "function_call"]
    status = _text(body.get("status"))
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts else None,
        "refusal": "".join(refusals) if refusals else None,
    }
    if calls:
        message["tool_calls"] = calls
    reason = _text(_optional(body.get("incomplete_details")).get("reason"))
    return Reading(
        answer=_answer([message], "stop" if status == "completed" else reason or status, None),
        usage=read_usage(body.get("usage")),
        error=ERROR_EVENT if status == "failed" else None,
    )


def _tool_call(item: dict[str, Any]) -> dict[str, Any]:
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def _read_opaque(body: dict[str, Any]) -> Reading:
    """Embeddings and what else is no text: only what it cost."""
    return Reading(usage=read_usage(body.get("usage")))


def read_usage(usage: Json) -> Usage | None:
    """Tokens as counted by the upstream, in the names of chat or of responses; None where there are none."""
    if not isinstance(usage, dict):
        return None
    prompt = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    completion = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    if prompt is None and completion is None:
        return None
    into = _optional(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    out = _optional(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    return Usage(
        prompt=prompt,
        completion=completion,
        cached=_count(into.get("cached_tokens")),
        reasoning=_count(out.get("reasoning_tokens")),
    )


# --- a stream ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Choice:
    """One choice of a stream as it grows: `said` are pieces of its message's strings by field, `rest` its other fields."""

    said: dict[str, list[str]] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None

    def take(self, choice: dict[str, Any]) -> None:
        if (delta := choice.get("delta")) is not None:
            for name, piece in _object(delta).items():
                said = self.said.get(name)
                if said is not None and name != "role" and isinstance(piece, str):
                    said.append(piece)
                else:
                    self._grow(name, piece)
        elif isinstance(choice.get("text"), str):
            self._grow("content", choice["text"])
        if (logprobs := choice.get("logprobs")) is not None:
            self.logprobs = _merged(self.logprobs or {}, _object(logprobs))
        if (reason := choice.get("finish_reason")) is not None:
            self.finish_reason = _text(reason)

    def _grow(self, name: str, piece: Json) -> None:
        if name == "tool_calls":
            for call in _objects(piece):
                self._call(call)
        elif not isinstance(piece, str):
            _merged(self.rest, {name: piece})
        elif name != "role" or not self.said.get(name):
            self.said.setdefault(name, []).append(piece)

    def _call(self, piece: dict[str, Any]) -> None:
        """Pieces of a call belong together by `index`; where a server sends none, a new id begins a new call."""
        begins = isinstance(piece.get("id"), str) or not self.calls
        default = len(self.calls) if begins else self.indices[-1]
        index = _index(piece.get("index", default))
        if index not in self.indices:
            self.indices.append(index)
            self.calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        call = self.calls[self.indices.index(index)]
        call["id"] = call["id"] or _text(piece.get("id"))
        call["type"] = _text(piece.get("type")) or call["type"]
        function = _optional(piece.get("function"))
        call["function"]["name"] = call["function"]["name"] or _text(function.get("name")) or ""
        call["function"]["arguments"] += _text(function.get("arguments")) or ""

    def whole(self) -> dict[str, Any]:
        said = {name: "".join(pieces) for name, pieces in self.said.items()}
        message = {"role": "assistant", "content": None} | self.rest | said
        if self.calls:
            message["tool_calls"] = [call for _, call in sorted(zip(self.indices, self.calls, strict=True), key=_first)]
        return message


def _first(pair: tuple[int, dict[str, Any]]) -> int:
    return pair[0]


def _read_chat_stream(body: bytes) -> Reading:
    choices: dict[int, _Choice] = {}
    usage: Usage | None = None
    fingerprint = error = None
    events = _events(body)
    for event in events.values:
        if event.get("error") is not None:
            error = ERROR_EVENT
        if (counted := event.get("usage")) is not None:
            usage = read_usage(counted) or usage
        if fingerprint is None:
            fingerprint = _text(event.get("system_fingerprint"))
        for choice in _objects(event.get("choices")):
            index = _index(choice.get("index"))
            if index not in choices:
                choices[index] = _Choice()
            choices[index].take(choice)
    ended = events.done or (bool(choices) and all(choice.finish_reason for choice in choices.values()))
    inorder = [choices[index] for index in sorted(choices)]
    if not inorder:
        return Reading(usage=usage, error=error or (MALFORMED if events.done else TRUNCATED), broke=not events.done)
    first = inorder[0]
    return Reading(
        answer=_answer([choice.whole() for choice in inorder], first.finish_reason, first.logprobs),
        usage=usage,
        fingerprint=fingerprint,
        error=error or (None if ended else TRUNCATED),
        broke=not ended,
    )


def _read_response_stream(body: bytes) -> Reading:
    """The last event holds the whole response; without it, what the deltas said."""
    text: list[str] = []
    error = None
    for event in _events(body).values:
        kind = event.get("type")
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            return _read_response(_object(event.get("response")))
        if kind == "response.output_text.delta":
            text.append(_text(event.get("delta")) or "")
        elif kind == "error":
            error = ERROR_EVENT
    answer = _answer([{"role": "assistant", "content": "".join(text)}], None, None) if text else None
    return Reading(answer=answer, error=error or TRUNCATED, broke=True)


def _read_opaque_stream(body: bytes) -> Reading:
    return Reading()


@dataclass(frozen=True, slots=True)
class _Events:
    values: list[dict[str, Any]]
    done: bool


def _events(body: bytes) -> _Events:
    """The JSON objects of a stream's `data` fields. An event that the end of the bytes cut short is left out."""
    between = body.count(_NEXT_EVENT)
    if body.startswith(_NEXT_EVENT[2:]) and body.endswith(b"\n\n") and body.count(b"\n") == 2 * between + 2:
        together = _read_together(body, between + 1)
        if together is not None:
            return together
    found = [(data, complete) for data, complete in _data(body) if data]
    pieces = [data for data, _ in found if data != b"[DONE]"]
    done = len(pieces) < len(found)
    try:
        values = _decode(b"[" + b",".join(pieces) + b"]")  # one call for all is several times faster than one for each
    except (msgspec.DecodeError, UnicodeDecodeError):
        values = None
    if values is None or len(values) != len(pieces):
        values = _one_by_one([event for event in found if event[0] != b"[DONE]"])
    return _Events(_objects(values), done)


_NEXT_EVENT = b"\n\ndata: "
_LAST_EVENT = b",[DONE]"


def _read_together(body: bytes, events: int) -> _Events | None:
    """A stream of nothing but one line of data per event, as nearly all are, in one go; None where that is not what it is."""
    joined = body[6:-2].replace(_NEXT_EVENT, b",")
    done = joined.endswith(_LAST_EVENT)
    try:
        values = _decode(b"[" + (joined[: -len(_LAST_EVENT)] if done else joined) + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return _Events(_objects(values), done) if len(values) == events - done else None


def _one_by_one(events: list[tuple[bytes, bool]]) -> list[Json]:
    values: list[Json] = []
    for data, complete in events:
        try:
            values.append(read_json(data))
        except Malformed:
            if complete:
                raise
    return values


def _data(body: bytes) -> Iterator[tuple[bytes, bool]]:
    """Each event's data, and whether the empty line that ends it came. Lines end with LF, CR or CRLF, nothing else."""
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines: list[bytes] = []
    for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if not line:
            if lines:
                yield b"\n".join(lines).strip(), True
            lines = []
        elif line.startswith(b"data:"):
            lines.append(line[5:])
    if lines:
        yield b"\n".join(lines).strip(), False


def _merged(into: dict[str, Any], piece: dict[str, Any]) -> dict[str, Any]:
    """Strings and lists grow, null changes nothing, objects merge, anything else replaces."""
    for name, value in piece.items():
        present = into.get(name)
        if isinstance(value, str) and isinstance(present, str):
            into[name] = present + value
        elif isinstance(value, list) and isinstance(present, list):
            present.extend(value)
        elif isinstance(value, dict) and isinstance(present, dict):
            into[name] = _merged(present, value)
        elif value is not None:
            into[name] = value
    return into


_BODIES: dict[str, Callable[[dict[str, Any]], Reading]] = {
    "chat.completions": _read_chat,
    "completions": _read_chat,
    "responses": _read_response,
}
_STREAMS: dict[str, Callable[[bytes], Reading]] = {
    "chat.completions": _read_chat_stream,
    "completions": _read_chat_stream,
    "responses": _read_response_stream,
}


# --- JSON of others ---------------------------------------------------------------------------------------------------


def _object(value: Json) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed("not an object")
    return value


def _optional(value: Json) -> dict[str, Any]:
    return {} if value is None else _object(value)


def _objects(value: Json) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed("not a list")
    for item in value:
        if not isinstance(item, dict):
            raise Malformed("not an object")
    return value


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Json) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None  # a bool is no count


def _index(value: Json) -> int:
    return _count(value) or 0
