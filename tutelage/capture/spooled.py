"""A row of a spool: a record in JSON, or what the relay kept, as it came.

What must be changed before it may be durable is translated by the gateway and written in JSON: people's names become
pseudonyms, secrets go, a stream is put together. Of everything else the gateway writes what it has, half as long, and who reads
it translates it: the record is the same one. Must not know files, or what is looked for in texts.
"""

from functools import lru_cache

import msgspec
from msgspec.structs import replace

from tutelage.capture.answers import is_stream
from tutelage.capture.asked import PEOPLE, read_asked
from tutelage.capture.bodies import read_usage
from tutelage.capture.raw import FULL, Headers, RawAttempt, RawExchange, RawShadow, attempts_of
from tutelage.capture.translate import (
    AS_THEY_STAND,
    MAX_HEADER_CHARS,
    Context,
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


class AsItCame(msgspec.Struct, frozen=True, array_like=True):
    """What the relay kept, with a pseudonym in the place of its session's key, and of header lines what records keep."""

    gateway: str
    sequence: int
    raw: RawExchange | RawShadow


class _Counted(msgspec.Struct, frozen=True):
    usage: Json = None


_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[AsItCame] = msgspec.msgpack.Decoder(AsItCame)
_counted: msgspec.json.Decoder[_Counted] = msgspec.json.Decoder(_Counted)


def as_it_came(raw: RawExchange | RawShadow, sequence: int, context: Context) -> bytes | None:
    """The row for a record out of whose texts nothing need be taken; None where it must be translated before it is written."""
    if raw.policy.log != FULL or raw.endpoint not in AS_THEY_STAND or _cut(raw):
        return None
    asked = read_asked(raw.body)
    if asked is None or not PEOPLE.isdisjoint(asked):
        return None
    kept: list[RawAttempt] = []
    for attempt in attempts_of(raw):
        one = _priced(attempt, context)
        if one is None:
            return None
        kept.append(one)
    if isinstance(raw, RawShadow):
        stored: RawExchange | RawShadow = replace(raw, attempt=kept[0])
    else:
        stored = replace(raw, attempts=kept, sticky_key=context.pseudonyms.of("conversation", raw.sticky_key))
    return _encode(AsItCame(context.gateway, sequence, stored))


def read_spooled(body: bytes) -> Spooled:
    """The record of a row. Raises msgspec.DecodeError; as msgspec.ValidationError it names the field that does not fit."""
    if body.startswith(_JSON):
        return decode_record(body)
    row = _decoder.decode(body)
    context = _reading(row.gateway)
    if isinstance(row.raw, RawShadow):
        return capture_shadow(row.raw, context).record
    return capture_exchange(row.raw, row.sequence, context).record


def _cut(raw: RawExchange | RawShadow) -> bool:
    """Whether it ended in a way that says something else of its calls than they do."""
    if isinstance(raw, RawShadow):
        return raw.lost is not None or raw.attempt is None
    return raw.client_gone or raw.truncated


def _priced(raw: RawAttempt, context: Context) -> RawAttempt | None:
    """A call with a whole answer in one body, and what it cost. None for any other."""
    if raw.status != 200 or raw.error is not None or raw.broke or raw.overflow:
        return None
    answer = b"".join(raw.chunks)
    if is_stream(answer, content_type_of(raw.headers)):
        return None
    try:
        usage = read_usage(_counted.decode(answer).usage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    price = context.price(raw.upstream, usage, raw.total_ms)
    return replace(raw, chunks=[answer], headers=_lines(raw.headers), price=price)


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
    return Context(gateway=gateway, pseudonyms=_Pseudonymous(), redact=_as_it_is, price=_unknown)


def _as_it_is(value: Json, _: frozenset[str]) -> Json:
    return value


def _unknown(_: str, __: Usage | None, ___: float) -> Price | None:
    """What a call cost stands beside it."""
    return None
