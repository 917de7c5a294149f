"""Answers in streams: put together out of their events, to read as if they had come in one body. Pure; raises Malformed.

A stream that stops before its end keeps what came, with `broke`. Nearly all streams say text and nothing else, one line of data
per event: those are decoded in one go into just what is wanted of them (`_Spoken`). All others are read field by field.

Must not know of attempts or policies. To add an endpoint: one reader, its line in `answers.py`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from tutelage.capture.bodies import ERROR_EVENT, MALFORMED, Reading, answer_of, read_response, read_usage
from tutelage.capture.events import Together, events_of, in_one
from tutelage.capture.loose import as_index, as_object, as_objects, as_optional, as_text
from tutelage.contracts.records import Json, Usage

TRUNCATED = "truncated"

# --- chat -------------------------------------------------------------------------------------------------------------


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
            for name, piece in as_object(delta).items():
                self._grow(name, piece)
        elif isinstance(choice.get("text"), str):
            self._grow("content", choice["text"])
        if (logprobs := choice.get("logprobs")) is not None:
            self.logprobs = _merged(self.logprobs or {}, as_object(logprobs))
        if (reason := choice.get("finish_reason")) is not None:
            self.finish_reason = as_text(reason)

    def _grow(self, name: str, piece: Json) -> None:
        if name == "tool_calls":
            for call in as_objects(piece):
                self._call(call)
        elif not isinstance(piece, str):
            _merged(self.rest, {name: piece})
        elif name != "role" or not self.said.get(name):
            self.said.setdefault(name, []).append(piece)

    def _call(self, piece: dict[str, Any]) -> None:
        """Pieces of a call belong together by `index`; where a server sends none, a new id begins a new call."""
        begins = isinstance(piece.get("id"), str) or not self.calls
        default = len(self.calls) if begins else self.indices[-1]
        index = as_index(piece.get("index", default))
        if index not in self.indices:
            self.indices.append(index)
            self.calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        call = self.calls[self.indices.index(index)]
        call["id"] = call["id"] or as_text(piece.get("id"))
        call["type"] = as_text(piece.get("type")) or call["type"]
        function = as_optional(piece.get("function"))
        call["function"]["name"] = call["function"]["name"] or as_text(function.get("name")) or ""
        call["function"]["arguments"] += as_text(function.get("arguments")) or ""

    def whole(self) -> dict[str, Any]:
        said = {name: "".join(pieces) for name, pieces in self.said.items()}
        message = {"role": "assistant", "content": None} | self.rest | said
        if self.calls:
            message["tool_calls"] = [call for _, call in sorted(zip(self.indices, self.calls, strict=True), key=_first)]
        return message


def _first(pair: tuple[int, dict[str, Any]]) -> int:
    return pair[0]


@dataclass(slots=True)
class _Chat:
    """A stream of chat as it grows."""

    choices: dict[int, _Choice] = field(default_factory=dict)
    usage: Usage | None = None
    fingerprint: str | None = None
    error: str | None = None

    def choice(self, index: int) -> _Choice:
        return self.choices.setdefault(index, _Choice())

    def note(self, error: Json, usage: Json, fingerprint: Json) -> None:
        """What an event says beside its choices."""
        if error is not None:
            self.error = ERROR_EVENT
        if usage is not None:
            self.usage = read_usage(usage) or self.usage
        if self.fingerprint is None:
            self.fingerprint = as_text(fingerprint)

    def reading(self, *, done: bool) -> Reading:
        inorder = [self.choices[index] for index in sorted(self.choices)]
        if not inorder:
            return Reading(usage=self.usage, error=self.error or (MALFORMED if done else TRUNCATED), broke=not done)
        ended = done or all(choice.finish_reason for choice in inorder)
        first = inorder[0]
        return Reading(
            answer=answer_of([choice.whole() for choice in inorder], first.finish_reason, first.logprobs),
            usage=self.usage,
            fingerprint=self.fingerprint,
            error=self.error or (None if ended else TRUNCATED),
            broke=not ended,
        )


def read_chat_stream(body: bytes) -> Reading:
    """`chat.completions` and `completions`."""
    data = in_one(body)
    spoken = None if data is None else _spoken(data)
    if data is not None and spoken is not None:
        return _read_spoken(spoken, done=data.done)
    chat = _Chat()
    events = events_of(body)
    for event in events.values:
        chat.note(event.get("error"), event.get("usage"), event.get("system_fingerprint"))
        for choice in as_objects(event.get("choices")):
            index = as_index(choice.get("index"))
            (chat.choices.get(index) or chat.choice(index)).take(choice)
    return chat.reading(done=events.done)


class _Words(msgspec.Struct, forbid_unknown_fields=True):
    """A delta of text. Fields that say more may be there, empty, as servers send them along."""

    role: str | None = None
    content: str | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    reasoning_content: None = None


class _SpokenChoice(msgspec.Struct):
    index: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 0
    delta: _Words | None = None
    text: None = None
    finish_reason: str | None = None
    logprobs: None = None


class _Spoken(msgspec.Struct):
    """An event that says text, counts tokens, or tells of an error; its other fields are not looked at."""

    choices: list[_SpokenChoice] | None = None
    usage: Any = None
    system_fingerprint: Any = None
    error: Any = None


_spoken_events: msgspec.json.Decoder[list[_Spoken]] = msgspec.json.Decoder(list[_Spoken])


def _spoken(data: Together) -> list[_Spoken] | None:
    """The events of a stream that says nothing but text; None where there is more in it."""
    try:
        events = _spoken_events.decode(data.array)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return events if len(events) == data.events else None


def _read_spoken(events: list[_Spoken], *, done: bool) -> Reading:
    chat = _Chat()
    choices = chat.choices
    for event in events:
        if event.usage is not None or event.error is not None or event.system_fingerprint is not None:
            chat.note(event.error, event.usage, event.system_fingerprint)
        for spoken in event.choices or ():
            choice = choices.get(spoken.index) or chat.choice(spoken.index)
            if (words := spoken.delta) is not None:
                said = choice.said
                if words.role is not None and "role" not in said:
                    said["role"] = [words.role]
                if words.content is not None:
                    if "content" in said:
                        said["content"].append(words.content)
                    else:
                        said["content"] = [words.content]
            if spoken.finish_reason is not None:
                choice.finish_reason = spoken.finish_reason
    return chat.reading(done=done)


# --- responses, and what is no text -----------------------------------------------------------------------------------


def read_response_stream(body: bytes) -> Reading:
    """The last event holds the whole response; without it, what the deltas said."""
    text: list[str] = []
    error = None
    for event in events_of(body).values:
        kind = event.get("type")
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            return read_response(as_object(event.get("response")))
        if kind == "response.output_text.delta":
            text.append(as_text(event.get("delta")) or "")
        elif kind == "error":
            error = ERROR_EVENT
    answer = answer_of([{"role": "assistant", "content": "".join(text)}], None, None) if text else None
    return Reading(answer=answer, error=error or TRUNCATED, broke=True)


def read_opaque_stream(body: bytes) -> Reading:
    """Nothing is known of it."""
    return Reading()


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
