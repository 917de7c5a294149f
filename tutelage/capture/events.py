"""A stream's events as JSON: every `data` field at once where the bytes allow it, else one by one. Pure; raises Malformed.

Lines end with LF, CR or CRLF, and with nothing else. Must not know what events say.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from tutelage.capture.loose import Malformed, as_objects, decode, read_json
from tutelage.contracts.records import Json


class Events(NamedTuple):
    """`done`: `[DONE]` was among them."""

    values: list[dict[str, Any]]
    done: bool


class Together(NamedTuple):
    """The data of all `events` of a stream as one JSON array, if each of them is JSON. `done`: `[DONE]` came after them."""

    array: bytes
    events: int
    done: bool


_NEXT_EVENT = b"\n\ndata: "


def in_one(body: bytes) -> Together | None:
    """A stream of one line of data per event and nothing else, as nearly all are; None where that is not what it is.

    To decode all at once is several times faster than one by one.
    """
    if not body.startswith(_NEXT_EVENT[2:]) or not body.endswith(b"\n\n"):
        return None
    pieces = body[6:-2].split(_NEXT_EVENT)
    done = pieces[-1] == b"[DONE]"
    if done:
        pieces.pop()
    joined = b",".join(pieces)
    return None if b"\n" in joined else Together(b"[" + joined + b"]", len(pieces), done)


def events_of(body: bytes) -> Events:
    """The JSON objects of a stream's `data` fields. An event that the end of the bytes cut short is left out."""
    together = in_one(body)
    if together is not None and (values := _decoded(together.array, together.events)) is not None:
        return Events(as_objects(values), together.done)
    found = [(data, complete) for data, complete in _data(body) if data]
    events = [event for event in found if event[0] != b"[DONE]"]
    values = _decoded(b"[" + b",".join([data for data, _ in events]) + b"]", len(events))
    if values is None:
        values = _one_by_one(events)
    return Events(as_objects(values), len(events) < len(found))


def _decoded(array: bytes, count: int) -> list[Json] | None:
    try:
        values = decode(array)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return values if len(values) == count else None


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
