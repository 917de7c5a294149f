"""A row of a spool: a record in JSON, or what the relay kept, as it came.

What must be changed before it may be durable is translated by the gateway and written in JSON: people's names become
pseudonyms, secrets go, a stream is put together. Of everything else the gateway writes what it has, half as long, and who reads
it translates it: the record is the same one.

    pack           on the event loop, when serving has ended: what may be written like this, in one piece
    row_of         in the spool's thread: its row, or None where a look at it says otherwise
    unpacked       then it is translated after all
    read_spooled   either kind of row

Must not know files, or what is looked for in texts.
"""

from functools import lru_cache
from typing import NamedTuple

import msgspec

from tutelage.capture.answers import is_stream
from tutelage.capture.asked import PEOPLE, read_asked
from tutelage.capture.bodies import read_usage
from tutelage.capture.raw import FULL, Headers, KnownBy, RawAttempt, RawExchange, RawShadow, known_by
from tutelage.capture.translate import (
    AS_THEY_STAND,
    MAX_HEADER_CHARS,
    Context,
    as_it_is,
    capture_exchange,
    capture_shadow,
    content_type_of,
    is_kept,
)
from tutelage.contracts.prices import Price
from tutelage.contracts.records import Json, Spooled, Usage, decode_record

_JSON = b"{"
_KNOWN_BY = b"request-id"
"""Kept for what a record calls `upstream_request_id`, not as a header."""

Kept = RawExchange | RawShadow


class Packed(NamedTuple):
    """A record in one piece, without its session's key and the header lines that records do not keep; and what must be looked at
    before it is written. What it was made of is freed at once, while it is in the core's cache: kept for another thread it
    costs both more than to pack it."""

    kept: bytes
    known_by: KnownBy
    redact: frozenset[str]
    sticky_key: str
    body: bytes
    answer: bytes
    content_type: str | None
    upstream: str
    total_ms: float

    @property
    def id(self) -> str:
        return self.known_by[0]


class _Row(msgspec.Struct, frozen=True, array_like=True):
    gateway: str
    sequence: int
    conversation: str
    price: Price | None
    kept: Kept


class _Counted(msgspec.Struct, frozen=True):
    usage: Json = None


_encode = msgspec.msgpack.Encoder().encode
_row: msgspec.msgpack.Decoder[_Row] = msgspec.msgpack.Decoder(_Row)
_kept: msgspec.msgpack.Decoder[Kept] = msgspec.msgpack.Decoder(Kept)
_counted: msgspec.json.Decoder[_Counted] = msgspec.json.Decoder(_Counted)


def pack(raw: Kept) -> Packed | None:
    """`raw` in one piece; its parts are not to be used any more. None where it must be translated: where it was not one call,
    answered whole in one body, of an endpoint whose strings are never put together out of several."""
    if raw.policy.log != FULL or raw.stream or raw.endpoint not in AS_THEY_STAND:
        return None
    if isinstance(raw, RawExchange):
        cut, key = raw.client_gone or raw.truncated, raw.sticky_key
        call = raw.attempts[0] if len(raw.attempts) == 1 else None
    else:
        cut, key, call = raw.lost is not None, "", raw.attempt
    if cut or call is None or not _answered(call):
        return None
    call.headers = headers = _lines(call.headers)
    if len(call.chunks) != 1:
        call.chunks = [b"".join(call.chunks)]
    if isinstance(raw, RawExchange):
        raw.sticky_key = ""
    try:
        kept = _encode(raw)
    except (TypeError, ValueError):  # text that is none: the translation finds out where
        if isinstance(raw, RawExchange):
            raw.sticky_key = key
        return None
    return Packed(
        kept,
        known_by(raw),
        raw.policy.redact,
        key,
        raw.body,
        call.chunks[0],
        content_type_of(headers),
        call.upstream,
        call.total_ms,
    )


def unpacked(packed: Packed) -> Kept:
    """What was packed, with its session's key."""
    raw = _kept.decode(packed.kept)
    if isinstance(raw, RawExchange):
        raw.sticky_key = packed.sticky_key
    return raw


def said_in(packed: Packed) -> bytes | None:
    """As `translate.said`."""
    if is_stream(packed.answer, packed.content_type):
        return None
    return b"%b\n%b" % (packed.body, packed.answer) if packed.redact else b""


def row_of(packed: Packed, sequence: int, context: Context) -> bytes | None:
    """The row of a record out of whose texts nothing need be taken. None where it must be translated: a person is named in it, or
    one of its bodies cannot be read."""
    asked = read_asked(packed.body)
    if asked is None or not PEOPLE.isdisjoint(asked):
        return None
    try:
        usage = read_usage(_counted.decode(packed.answer).usage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    key = packed.sticky_key
    conversation = context.pseudonyms.of("conversation", key) if key else ""
    price = context.price(packed.upstream, usage, packed.total_ms)
    return _encode((context.gateway, sequence, conversation, price, msgspec.Raw(packed.kept)))


def read_spooled(body: bytes) -> Spooled:
    """The record of a row. Raises msgspec.DecodeError; as msgspec.ValidationError it names the field that does not fit."""
    if body.startswith(_JSON):
        return decode_record(body)
    row = _row.decode(body)
    context, kept = _reading(row.gateway), row.kept
    if isinstance(kept, RawShadow):
        if kept.attempt is not None:
            kept.attempt.price = row.price
        return capture_shadow(kept, context).record
    kept.sticky_key = row.conversation
    kept.attempts[0].price = row.price
    return capture_exchange(kept, row.sequence, context).record


def _answered(call: RawAttempt) -> bool:
    return call.status == 200 and call.error is None and not (call.broke or call.overflow)


def _lines(headers: Headers) -> Headers:
    return [(name, value[:MAX_HEADER_CHARS]) for name, value in headers if is_kept(name) or name == _KNOWN_BY]


# --- reading ----------------------------------------------------------------------------------------------------------


class _Pseudonymous:
    """What stands in a row is a pseudonym already."""

    @staticmethod
    def of(_: str, value: str, /) -> str:
        return value


@lru_cache(maxsize=256)
def _reading(gateway: str) -> Context:
    return Context(gateway=gateway, pseudonyms=_Pseudonymous(), redact=as_it_is, price=_unknown)


def _unknown(_: str, __: Usage | None, ___: float) -> Price | None:
    """What a call cost stands beside it."""
    return None
