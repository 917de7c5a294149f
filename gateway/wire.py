"""The wire: a request's top level read and edited, headers filtered both ways. Pure: bytes in, bytes out.

The request is not modelled. Its top level is split into name → raw bytes of the value; what policy needs is read from there,
`model` and (for counting) `stream_options` are replaced, everything else travels as the client spelled it: integers of any
length, float spelling, escapes, lone surrogates, key order, unknown fields. Of a key that stands twice the last one is read
and travels; a second `model` is refused, since two servers would read it differently.

Must not know routes, upstreams or sockets, nor what a request needs of its arm (`needs.py`). Raises `BadRequest` and nothing
else. To read another field: a function over `Body`.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import compress
from json.decoder import scanstring  # type: ignore[attr-defined]  # undocumented, there since Python 2.6
from operator import itemgetter
from typing import Any

import msgspec

from gateway.errors import BadRequest
from gateway.upstreams.base import Headers

MAX_MODEL_CHARS = 512
Fields = dict[str, msgspec.Raw]

_fields: msgspec.json.Decoder[Fields] = msgspec.json.Decoder(Fields)
_any: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode
_TRUE = msgspec.Raw(b"true")
_NULL = b"null"
_ABSENT = (_NULL, b"false", b"[]", b"{}", b'""')


class Body(msgspec.Struct, frozen=True):
    """One request's body, checked: `fields` is its top level in order, each value as its bytes stand in `raw`. `model` is ""
    where it names none."""

    raw: bytes
    fields: Fields
    model: str
    stream: bool


def read_body(raw: bytes) -> Body:
    """The top level of `raw`. Raises BadRequest where it is not a JSON object, or its `model` is not one usable name."""
    fields = _top_level(raw)
    if (raw.count(b'"model"') > 1 or (raw.find(b"\\") >= 0 and b"\\u006" in raw)) and _times(raw, "model") > 1:
        raise BadRequest("'model' stands twice in the request; send it once.", param="model", code="duplicate_field")
    model = ""
    if "model" in fields:
        model = value_of(fields["model"])
        if not isinstance(model, str) or not model or len(model) > MAX_MODEL_CHARS:
            reason = f"Invalid 'model': expected a name of 1 to {MAX_MODEL_CHARS} characters."
            raise BadRequest(reason, param="model", code="invalid_type")
    stream = value_of(fields["stream"]) if "stream" in fields else None
    if stream is not None and not isinstance(stream, bool):
        raise BadRequest("Invalid type for 'stream': expected a boolean.", param="stream", code="invalid_type")
    return Body(raw, fields, model, bool(stream))


def require_object(raw: bytes) -> dict[str, Any]:
    """A small JSON object, read whole. Raises BadRequest."""
    return {name: value_of(value) for name, value in _top_level(raw).items()}


def opaque(raw: bytes) -> Body:
    """A body of any kind, not looked into."""
    return Body(raw=raw, fields={}, model="", stream=False)


def with_model(body: Body, model: str) -> Fields:
    """The top level as it goes to an upstream that knows the model as `model`; a copy, in the client's order."""
    fields = body.fields.copy()
    fields["model"] = _spelled(model)
    return fields


@lru_cache(maxsize=256)
def _spelled(model: str) -> msgspec.Raw:
    """An upstream's own name for its model, as JSON."""
    return msgspec.Raw(_encode(model))


def inject_usage(fields: Fields) -> bool:
    """Ask for a stream's usage in `fields` where the client did not; True where that was done: the answer must undo it.

    Left alone where `stream_options` is no object (the upstream refuses it) or asks for usage of its own kind.
    """
    raw = fields.get("stream_options")
    if raw is None or bytes(raw) == _NULL:
        fields["stream_options"] = msgspec.Raw(b'{"include_usage":true}')
        return True
    try:
        options = _fields.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    asked = options.get("include_usage")
    if (asked is not None and bytes(asked) == b"true") or "continuous_usage_stats" in options:
        return False
    options["include_usage"] = _TRUE
    fields["stream_options"] = msgspec.Raw(_encode(options))
    return True


def encode_fields(fields: Fields) -> bytes:
    """The body to send: every value's bytes as they are."""
    return _encode(fields)


def given(fields: Fields, name: str) -> bool:
    """Whether a field is there and asks for anything."""
    raw = fields.get(name)
    return raw is not None and bytes(raw) not in _ABSENT


def value_of(raw: msgspec.Raw) -> Any:
    """The value behind raw bytes that were checked already; lone surrogates survive."""
    try:
        return _any.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            return json.loads(bytes(raw).decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None


# --- headers ----------------------------------------------------------------------------------------------------------

_HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
})  # fmt: skip
_NOT_UPSTREAM = _HOP_BY_HOP | {
    b"authorization", b"cookie", b"host", b"forwarded", b"x-api-key", b"api-key", b"x-real-ip", b"via", b"expect",
    b"content-length", b"content-type", b"accept-encoding", b"x-request-id", b"x-auth-token", b"x-goog-api-key",
    b"x-goog-user-project", b"ocp-apim-subscription-key",
}  # fmt: skip
ACCOUNT = frozenset({b"openai-organization", b"openai-project"})
"""Whose account pays. With our key that is ours to say, unless the upstream's settings leave it to the client."""
_NOT_UPSTREAM_PREFIX = (b"x-forwarded-", b"x-tutelage-", b"x-amz-", b"cf-")
_NOT_DOWNSTREAM = _HOP_BY_HOP | {
    b"set-cookie",
    b"alt-svc",
    b"strict-transport-security",
    b"server",
    b"date",
    b"content-length",
}
_NOT_DOWNSTREAM_PREFIX = (b"cf-", b"access-control-", b"x-tutelage-")
_CLIENT_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_name, _value = itemgetter(0), itemgetter(1)
_NOTHING: frozenset[bytes] = frozenset()
_CONTROLS = bytes({*range(32), 127} - {ord("\t")})


def to_upstream(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The client's header lines as an upstream may see them. The type of the body and the call's name are the caller's to add.

    What does not travel stands in one list, `_NOT_UPSTREAM`, with what names an account, which `account_of` gives.
    """
    named = named_by_connection(headers)
    return [line for line in headers if goes_up(line[0]) and line[0] not in named]


def account_of(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The client's lines that name an account at the provider."""
    return [line for line in headers if line[0] in ACCOUNT]


def to_client(headers: Headers) -> list[tuple[bytes, bytes]]:
    """An upstream's header lines as the client may see them. Framing is the server's."""
    names = tuple(map(_name, headers))
    kept = list(compress(headers, _go_down(names)))
    if b"connection" in names:
        named = named_by_connection(headers)
        kept = [line for line in kept if line[0] not in named]
    if _is_clean(b"".join(map(_value, kept))):
        return kept
    return [line for line in kept if _is_clean(line[1])]


def _is_clean(value: bytes) -> bool:
    return value.translate(None, _CONTROLS) == value


@lru_cache(maxsize=1024)
def goes_up(name: bytes) -> bool:
    """Whether lines of this name may travel to an upstream."""
    return name not in _NOT_UPSTREAM and name not in ACCOUNT and not name.startswith(_NOT_UPSTREAM_PREFIX)


@lru_cache(maxsize=128)
def _go_down(names: tuple[bytes, ...]) -> tuple[bool, ...]:
    """Which of these lines may travel to clients, but for what `connection` names. An upstream's heads have one form or few."""
    return tuple(name not in _NOT_DOWNSTREAM and not name.startswith(_NOT_DOWNSTREAM_PREFIX) for name in names)


def client_id(named: Mapping[bytes, bytes]) -> bytes | None:
    """The client's own request id, where it is one that may travel."""
    value = named.get(b"x-request-id")
    return value if value is not None and _CLIENT_ID.fullmatch(value) else None


def header(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a header; `name` in lower case."""
    for key, value in headers:
        if key == name:
            return value
    return None


def named_by_connection(headers: Headers) -> frozenset[bytes]:
    """What the client says goes no further than here."""
    if header(headers, b"connection") is None:
        return _NOTHING
    lines = [value for key, value in headers if key == b"connection"]
    return frozenset(token.strip().lower() for line in lines for token in line.split(b","))


# --- JSON's top level -------------------------------------------------------------------------------------------------


def _top_level(raw: bytes) -> Fields:
    _require_text(raw)
    try:
        return _fields.decode(raw)
    except RecursionError:
        raise BadRequest("The request's JSON is nested too deeply.", code="invalid_json") from None
    except msgspec.ValidationError:
        raise BadRequest("The request must be a JSON object.", code="invalid_json") from None
    except msgspec.DecodeError as fault:
        if b"\\ud" not in raw and b"\\uD" not in raw:
            raise BadRequest(f"We could not parse the JSON of your request: {fault}.", code="invalid_json") from None
    try:
        return dict(
            _pairs(raw)
        )  # the fast decoder refuses lone surrogates; what stands in a value is not ours to refuse
    except (ValueError, RecursionError, IndexError):
        raise BadRequest("We could not parse the JSON of your request.", code="invalid_json") from None


def _require_text(raw: bytes) -> None:
    """The fast decoder does not look into values: bytes that are no text there would become the upstream's trouble."""
    if raw.isascii():
        return
    try:
        raw.decode()
    except UnicodeDecodeError as fault:
        raise BadRequest(f"The request is not UTF-8 text: {fault.reason}.", code="invalid_json") from None


def _times(raw: bytes, name: str) -> int:
    try:
        return sum(key == name for key, _ in _pairs(raw))
    except (ValueError, RecursionError, IndexError):
        raise BadRequest("We could not parse the JSON of your request.", code="invalid_json") from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_skip: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=_refuse
).raw_decode
_space = re.compile(r"[ \t\n\r]*")


def _pairs(raw: bytes) -> list[tuple[str, msgspec.Raw]]:
    """Every pair of the top level, duplicates too, by the standard library's scanner. Slow: for the odd request only."""
    text = raw.decode()

    def past(at: int, expected: str) -> int:
        at = _after_space(text, at)
        if text[at] not in expected:
            raise ValueError(f"expected one of {expected}")
        return at + 1

    found: list[tuple[str, msgspec.Raw]] = []
    at = past(0, "{")
    if text[_after_space(text, at)] == "}":
        return found
    while True:
        key, at = scanstring(text, past(at, '"'), True)
        start = _after_space(text, past(at, ":"))
        _, end = _skip(text, start)
        found.append((key, msgspec.Raw(text[start:end].encode())))
        at = past(end, ",}")
        if text[at - 1] == "}":
            break
    if _after_space(text, at) != len(text):
        raise ValueError("trailing characters")
    return found


def _after_space(text: str, at: int) -> int:
    found = _space.match(text, at)
    return found.end() if found else at
