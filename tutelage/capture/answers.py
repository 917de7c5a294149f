"""What an upstream answered: from the bytes of a reply to an `Answer`, its usage and its end. Pure, and it never raises.

A JSON body is read as it is (`bodies`), a stream is assembled from its deltas (`deltas`), so that the same answer reads the
same however it came and however the network cut it. What cannot be read is `error="malformed"` without an answer. Must not
know of attempts, policies or records beside `Answer` and `Usage`.

To add an endpoint: one reader of bodies and one of streams, one line each in the tables below.
"""

import codecs
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tutelage.capture.bodies import MALFORMED, Reading, read_chat, read_opaque, read_response
from tutelage.capture.deltas import read_chat_stream, read_opaque_stream, read_response_stream
from tutelage.capture.loose import Malformed, as_object, read_json

_BODIES: dict[str, Callable[[dict[str, Any]], Reading]] = {
    "chat.completions": read_chat,
    "completions": read_chat,
    "responses": read_response,
}
_STREAMS: dict[str, Callable[[bytes], Reading]] = {
    "chat.completions": read_chat_stream,
    "completions": read_chat_stream,
    "responses": read_response_stream,
}


def read_answer(body: bytes, *, endpoint: str, content_type: str | None) -> Reading:
    """The answer in the body of a successful reply. `content_type` is the reply's own."""
    try:
        if is_stream(body, content_type):
            return _STREAMS.get(endpoint, read_opaque_stream)(body)
        return _BODIES.get(endpoint, read_opaque)(as_object(read_json(body)))
    except (Malformed, RecursionError):
        return Reading(error=MALFORMED)


def is_stream(body: bytes, content_type: str | None) -> bool:
    """Whether a reply's body is a stream of events."""
    named = names_stream(content_type)
    return begins_stream(body) if named is None else named


def begins_stream(body: bytes) -> bool:
    """Whether these bytes, `FIELD_BYTES` at least, are the beginning of a stream of events and not of JSON."""
    return body.removeprefix(codecs.BOM_UTF8).lstrip().startswith((b"data:", b"event:", b"id:", b"retry:", b":"))


FIELD_BYTES = len(b"event:")


@lru_cache(maxsize=64)
def names_stream(content_type: str | None) -> bool | None:
    """What a reply's type says. None where it names neither events nor JSON, or there is none: the bytes decide."""
    kind = "" if content_type is None else content_type.strip().lower()
    if kind.startswith("text/event-stream"):
        return True
    return False if kind.startswith("application/json") else None
