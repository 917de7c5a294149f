"""Server-sent events split on bytes. Pure: chunks in, the chunks that may be sent out.

A `Scanner` follows one stream: whether it stands inside an event, whether `[DONE]` came, whether an event was an error. Lines end
with CR, LF or CRLF and with nothing else. Without `strip_usage` every byte leaves as it came, in the same chunk. With it, what
was only sent because the gateway asked for usage is removed again: the usage chunk (`choices: []`) and `"usage": null`; with a
`model`, that is what answers call themselves. Then whole events leave as soon as they are complete, everything else in them byte
for byte. From the first error on, what leaves passes through `told`.

An endpoint's streams end as its `Ending` says; `scanner_of` gives the scanner that knows it. Must not know of HTTP, of arms or of
what an answer means beyond these marks.
"""

import re
from collections.abc import Callable, Iterator
from enum import StrEnum

import msgspec

MAX_EVENT_BYTES = 4 * 2**20
"""A longer event is no longer looked at: it passes as it comes."""

_END_OF_EVENT = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_TWO_LINE_FEEDS = re.compile(rb"\n\n")
"""The same where there is no CR: found many times faster."""
_END_OF_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_NULL_USAGE = re.compile(
    rb',\s*"usage"\s*:\s*null(?=\s*[,}])|(?<=\{)\s*"usage"\s*:\s*null\s*,|(?<=\{)"usage"\s*:\s*null(?=\})'
)
_LAST_NULL_USAGE = re.compile(
    rb',[ \t]*"usage"[ \t]*:[ \t]*null'
    rb'(?=(?:[ \t]*,[ \t]*"[^"\\\r\n]*"[ \t]*:[ \t]*(?:"[^"\\\r\n]*"|[a-z0-9.+-]+))*[ \t]*\}(?:\r\n\r\n|\n\n))'
)
"""Where only flat members stand between it and the brace that ends the event, it is the top level's."""
_object: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Ending(StrEnum):
    """What ends a stream: `[DONE]`, an event of a terminal type, or nothing that could be known."""

    DONE = "done"
    TYPED = "typed"
    ANY = "any"


_TYPED = Ending.TYPED
Told = Callable[[bytes], bytes]
"""What of a piece in which an error is told may be sent."""


def _as_it_is(piece: bytes) -> bytes:
    return piece


class Scanner:
    """One stream that ends with `[DONE]`, chunk by chunk."""

    __slots__ = ("_edits", "_model", "_pending", "_strip", "_told", "done", "error", "events", "inside", "malformed")

    _MARKS: tuple[bytes, ...] = (b'"error"', b"[DONE]")
    """Events without any of these change nothing in what is known of the stream."""

    def __init__(self, *, strip_usage: bool, model: str | None = None, told: Told = _as_it_is) -> None:
        self._strip = strip_usage
        self._told = told
        self._model = model
        self._edits = strip_usage or model is not None
        self._pending = bytearray()
        self.events = 0
        """Events with data so far; what came together counts once."""
        self.done = False
        """The stream's end came."""
        self.error = False
        self.malformed = False
        """The first event's data was neither JSON nor `[DONE]`."""
        self.inside = False
        """The bytes given out end inside an event."""

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk; what may be sent now."""
        if self.events and not self._pending and chunk[-2:] == b"\n\n":
            plain = self._plain(chunk)
            if plain is not None:
                self.inside = False
                return plain
        out = self._whole_events(chunk)
        if len(self._pending) > MAX_EVENT_BYTES:
            out += self.rest()
            self._pending = bytearray()
            self.inside = True
        elif not self._edits:
            self.inside = bool(self._pending)
        out = out if self._edits else chunk
        return self._told(out) if self.error else out

    def ended(self) -> None:
        """No more bytes come: an end mark is one without the empty line behind it too, as some servers send it."""
        data = data_of(bytes(self._pending))
        self.done = self.done or (data is not None and data.strip() == b"[DONE]")

    def rest(self) -> bytes:
        """What was held back of an unfinished event when the stream ended; only the end of one that broke off."""
        return bytes(self._pending) if self._edits else b""

    def _plain(self, events: bytes) -> bytes | None:
        """Whole events that hold no mark but `"usage": null`, without it; None where they must be looked at one by one."""
        if self._model is not None:
            return None
        for mark in self._MARKS:
            if events.find(mark) >= 0:  # `in` tries the mark as a number first, which costs an exception
                return None
        if not self._strip or events.find(b'"usage"') < 0:
            return events
        plain, found = _LAST_NULL_USAGE.subn(b"", events)
        return plain if found == events.count(b'"usage"') else None

    def _whole_events(self, chunk: bytes) -> bytes:
        """Read every event that `chunk` completes, remember the rest; the events that stay. What was searched is not again."""
        data = self._pending
        searched = max(0, len(data) - 3)
        data += chunk
        end_of_event = _END_OF_EVENT if b"\r" in data else _TWO_LINE_FEEDS
        ends = [match.end() for match in end_of_event.finditer(data, searched)]
        if ends and ends[-1] == len(data) and data.endswith(b"\r\n\r"):
            ends.pop()  # the LF of this CRLF is still to come
        if not ends:
            return b""
        whole = bytes(data[: ends[-1]])
        self._pending = data[ends[-1] :]
        self.inside = False
        out = [self._event(whole[: ends[0]])]
        start = ends[0]
        if len(ends) > 3 and self.events and (plain := self._plain(whole[start : ends[-3]])) is not None:
            out.append(plain)  # together, but for the first event and the marks at the end
            start, ends = ends[-3], ends[-3:]
        for end in ends[1:]:
            out.append(self._event(whole[start:end]))
            start = end
        return b"".join(out) if self._edits else b""

    def _event(self, event: bytes) -> bytes:
        """One complete event as it may be sent: unchanged, without `usage`, or nothing."""
        first = self.events == 0
        if not first and (plain := self._plain(event)) is not None:
            self.events += 1
            return plain
        data = data_of(event)
        if data is None:
            return event
        self.events += 1
        if data.strip() == b"[DONE]":
            self.done = True
            return event
        fields = _fields(data)
        if fields is None:
            self.malformed = self.malformed or first
            return event
        self._read(fields)
        kept = _without_usage(event, data, fields) if self._strip and "usage" in fields else event
        return kept if self._model is None else _named(kept, self._model)

    def _read(self, fields: dict[str, msgspec.Raw]) -> None:
        self.error = self.error or _is_error(fields)


class TypedScanner(Scanner):
    """A stream of responses: numbered events with a type, one of which is the last."""

    __slots__ = ("_latest",)

    _MARKS = (b'"response.completed"', b'"error"', b'"response.incomplete"', b'"response.failed"')

    def __init__(self, *, strip_usage: bool, model: str | None = None, told: Told = _as_it_is) -> None:
        super().__init__(strip_usage=strip_usage, model=model, told=told)
        self._latest = b""

    @property
    def next_number(self) -> int:
        """The place of an event that would come now, as far as the latest bytes tell."""
        numbers = _NUMBER.findall(self._latest)
        return int(numbers[-1]) + 1 if numbers else 0

    def feed(self, chunk: bytes) -> bytes:
        self._latest = chunk
        return super().feed(chunk)

    def _read(self, fields: dict[str, msgspec.Raw]) -> None:
        kind = bytes(fields.get("type", b""))
        self.done = self.done or kind in _LAST
        self.error = self.error or kind in _FAILED or _is_error(fields)


_LAST = (b'"response.completed"', b'"response.incomplete"', b'"response.failed"', b'"error"')
_NUMBER = re.compile(rb'"sequence_number"\s*:\s*(\d{1,15})')
_FAILED = (b'"response.failed"', b'"error"')


def scanner_of(ending: Ending, *, strip_usage: bool, model: str | None = None, told: Told = _as_it_is) -> Scanner:
    """A scanner for streams that end so."""
    kind = TypedScanner if ending is _TYPED else Scanner
    return kind(strip_usage=strip_usage, model=model, told=told)


def with_model_named(body: bytes, model: str) -> bytes:
    """A JSON answer, or an event's, that calls its model so; what cannot be read stays as it is."""
    fields = _fields(body)
    if fields is None:
        return body
    if "model" in fields:
        fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    elif "response" in fields:
        fields["response"] = msgspec.Raw(with_model_named(bytes(fields["response"]), model))
    else:
        return body
    return msgspec.json.encode(fields)


def data_of(event: bytes) -> bytes | None:
    """The data of one event, its lines joined by LF; None where it has none. A stream may begin with a byte order mark."""
    if event.startswith(b"data:") and (match := _END_OF_LINE.search(event)) and not event[match.end() :].strip(b"\r\n"):
        return event[5 : match.start()].removeprefix(b" ")
    lines = [line[5:].removeprefix(b" ") for line in _lines(event.removeprefix(_BOM)) if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def is_error(body: bytes) -> bool:
    """Whether a JSON body tells of an error instead of an answer."""
    fields = _fields(body)
    return fields is not None and _is_error(fields)


def _lines(event: bytes) -> Iterator[bytes]:
    yield from _END_OF_LINE.split(event)


def _fields(data: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        return _object.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _is_error(fields: dict[str, msgspec.Raw]) -> bool:
    return "error" in fields and bytes(fields["error"]) != b"null" and "choices" not in fields


def _named(event: bytes, model: str) -> bytes:
    data = data_of(event)
    at = event.find(data) if data else -1
    return event if at < 0 or not data else event[:at] + with_model_named(data, model) + event[at + len(data) :]


def _without_usage(event: bytes, data: bytes, fields: dict[str, msgspec.Raw]) -> bytes:
    """The event without what was injected. Usage that comes with choices was not asked for by us: it stays."""
    if bytes(fields["usage"]) != b"null":
        return b"" if _is_empty_list(fields.get("choices")) else event
    wanted = {name: bytes(value) for name, value in fields.items() if name != "usage"}
    at = event.find(data)
    for match in _NULL_USAGE.finditer(data):
        shorter = data[: match.start()] + data[match.end() :]
        found = _fields(shorter)
        if found is not None and at >= 0 and {name: bytes(value) for name, value in found.items()} == wanted:
            return event[:at] + shorter + event[at + len(data) :]
    return event


def _is_empty_list(raw: msgspec.Raw | None) -> bool:
    return raw is not None and b"".join(bytes(raw).split()) == b"[]"
