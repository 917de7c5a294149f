"""The wire: a request's top level read and edited, headers filtered both ways. Pure: bytes in, bytes out.

The request is not modelled. Its top level is split into name → raw bytes of the value; what policy needs is read from there,
`model` and (for counting) `stream_options` are replaced, everything else travels as the client spelled it: integers of any
length, float spelling, escapes, lone surrogates, key order, unknown fields. Of a key that stands twice the last one is read
and travels; a second `model` is refused, since two servers would read it differently.

Must not know routes, upstreams or sockets. Raises `BadRequest` and nothing else. To read another field: a function over `Body`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # undocumented, there since Python 2.6
from typing import Any

import msgspec

from gateway.errors import BadRequest
from gateway.upstreams.base import Headers
from router.types import Needs

MAX_MODEL_CHARS = 512
Fields = dict[str, msgspec.Raw]

_fields: msgspec.json.Decoder[Fields] = msgspec.json.Decoder(Fields)
_any: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode
_TRUE = msgspec.Raw(b"true")
_NULL = b"null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One request's body, checked: `fields` is its top level in order, each value as its bytes stand in `raw`."""

    raw: bytes
    fields: Fields
    model: str
    stream: bool


def read_body(raw: bytes) -> Body:
    """The top level of `raw`. Raises BadRequest where it is not a JSON object with one usable `model`."""
    fields = _top_level(raw)
    if (raw.count(b'"model"') > 1 or b"\\u006" in raw) and _times(raw, "model") > 1:
        raise BadRequest("'model' stands twice in the request; send it once.", param="model", code="duplicate_field")
    if "model" not in fields:
        raise BadRequest("You must provide a model parameter.", param="model", code="missing_required_parameter")
    model = value_of(fields["model"])
    if not isinstance(model, str) or not model or len(model) > MAX_MODEL_CHARS:
        reason = f"Invalid 'model': expected a name of 1 to {MAX_MODEL_CHARS} characters."
        raise BadRequest(reason, param="model", code="invalid_type")
    stream = value_of(fields["stream"]) if "stream" in fields else None
    if stream is not None and not isinstance(stream, bool):
        raise BadRequest("Invalid type for 'stream': expected a boolean.", param="stream", code="invalid_type")
    return Body(raw=raw, fields=fields, model=model, stream=bool(stream))


def with_model(body: Body, model: str) -> Fields:
    """The top level as it goes to an upstream that knows the model as `model`; a copy, in the client's order."""
    fields = body.fields.copy()
    fields["model"] = msgspec.Raw(_encode(model))
    return fields


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


def value_of(raw: msgspec.Raw) -> Any:
    """The value behind raw bytes that were checked already; lone surrogates survive."""
    try:
        return _any.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            return json.loads(bytes(raw).decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None


# --- what policy asks -------------------------------------------------------------------------------------------------

_STRUCTURED = (
    "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "guided_decoding",
)  # fmt: skip
_STATEFUL = ("previous_response_id", "conversation", "background")
_MEDIA = {"image_url": "vision", "input_audio": "audio", "file": "file"}


def needs_of(body: Body, endpoint: str) -> Needs:
    """What this request asks of its arm. Content parts are read only where the bytes hint at media."""
    fields = body.fields
    messages = fields.get("messages")
    raw = b"" if messages is None else bytes(messages)
    hinted = b'"image_url"' in raw or b'"input_audio"' in raw or b'"file"' in raw or b'"file_id"' in raw
    media = _media(messages) if messages is not None and hinted else frozenset()
    return Needs(
        endpoint=endpoint,
        prompt_tokens_at_least=_text_bytes(messages, raw) // 4,
        output_tokens=_output_tokens(fields),
        tools=_given(fields, "tools") or _given(fields, "functions"),
        structured=_structured(fields),
        vision="vision" in media,
        audio="audio" in media or b'"audio"' in bytes(fields.get("modalities", b"")),
        logprobs=_given(fields, "logprobs"),
        stateful=next((name for name in _STATEFUL if _given(fields, name)), "file_id" if "file" in media else None),
    )


def _given(fields: Fields, name: str) -> bool:
    raw = fields.get(name)
    return raw is not None and bytes(raw) not in (_NULL, b"false", b"[]", b"{}", b'""')


def _structured(fields: Fields) -> bool:
    if any(_given(fields, name) for name in _STRUCTURED):
        return True
    raw = fields.get("response_format")
    return raw is not None and b'"json_' in bytes(raw)


def _output_tokens(fields: Fields) -> int:
    raw = fields.get("max_completion_tokens") or fields.get("max_tokens")
    value = value_of(raw) if raw is not None else None
    return value if isinstance(value, int) and 0 < value < 2**53 else 0


def _text_bytes(messages: msgspec.Raw | None, raw: bytes) -> int:
    """Bytes of text in the messages; their JSON where that is near enough: no media, no escapes of six bytes a character."""
    if messages is None or (
        b"\\u" not in raw and b'":"data:' not in raw and b'": "data:' not in raw and b'"data"' not in raw
    ):
        return len(raw)
    return sum(len(text.encode("utf-8", "replace")) for _, text in _texts(messages))


def _media(messages: msgspec.Raw) -> frozenset[str]:
    found = {_MEDIA[kind] for part in _parts(messages) if isinstance(kind := part.get("type"), str) and kind in _MEDIA}
    return frozenset(found)


def _messages(messages: msgspec.Raw) -> Iterable[dict[str, Any]]:
    value = value_of(messages)
    return (message for message in value if isinstance(message, dict)) if isinstance(value, list) else ()


def _parts(messages: msgspec.Raw) -> Iterable[dict[str, Any]]:
    for message in _messages(messages):
        content = message.get("content")
        yield from (part for part in content if isinstance(part, dict)) if isinstance(content, list) else ()


def _texts(messages: msgspec.Raw) -> Iterable[tuple[str, str]]:
    """Role and text of each message, its text parts joined."""
    for message in _messages(messages):
        role, content = message.get("role"), message.get("content")
        if isinstance(content, list):
            texts = (part.get("text") for part in content if isinstance(part, dict))
            content = "\n".join(text for text in texts if isinstance(text, str))
        yield role if isinstance(role, str) else "", content if isinstance(content, str) else ""


def first_message(body: Body) -> str | None:
    """System text and first user text, joined: what names a conversation when nothing else does; None without user text."""
    messages = body.fields.get("messages")
    if messages is None:
        return None
    system: list[str] = []
    for role, text in _texts(messages):
        if role in ("system", "developer"):
            system.append(text)
        elif role == "user" and text:
            return "\0".join((*system, text))
    return None


class Strings(Mapping[str, object]):
    """The top level as plain values, decoded when asked for."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> object:
        return value_of(self._fields[name])

    def __iter__(self) -> Any:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


# --- headers ----------------------------------------------------------------------------------------------------------

_HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
})  # fmt: skip
_NOT_UPSTREAM = _HOP_BY_HOP | {
    b"authorization", b"cookie", b"host", b"forwarded", b"x-api-key", b"api-key", b"x-real-ip", b"via", b"expect",
    b"content-length", b"content-type", b"accept-encoding", b"x-request-id",
}  # fmt: skip
_NOT_UPSTREAM_PREFIX = (b"x-forwarded-", b"x-tutelage-", b"cf-")
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
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def to_upstream(headers: Headers, request_id: bytes) -> list[tuple[bytes, bytes]]:
    """The client's header lines as an upstream may see them; its own name for the request is replaced by `request_id`."""
    named = _named_by_connection(headers)
    kept = [
        line for line in headers
        if line[0] not in _NOT_UPSTREAM and line[0] not in named and not line[0].startswith(_NOT_UPSTREAM_PREFIX)
    ]  # fmt: skip
    kept += [(b"content-type", b"application/json"), (b"accept-encoding", b"identity"), (b"x-request-id", request_id)]
    return kept


def to_client(headers: Headers) -> list[tuple[bytes, bytes]]:
    """An upstream's header lines as the client may see them. Framing is the server's."""
    named = _named_by_connection(headers)
    return [
        line for line in headers
        if line[0] not in _NOT_DOWNSTREAM and line[0] not in named and not line[0].startswith(_NOT_DOWNSTREAM_PREFIX)
        and not _BAD_VALUE.search(line[1])
    ]  # fmt: skip


def client_id(headers: Headers) -> bytes | None:
    """The client's own request id, where it is one that may travel."""
    value = header(headers, b"x-request-id")
    return value if value is not None and _CLIENT_ID.fullmatch(value) else None


def header(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a header; `name` in lower case."""
    return next((value for key, value in headers if key == name), None)


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    lines = [value for key, value in headers if key == b"connection"]
    return frozenset(token.strip().lower() for line in lines for token in line.split(b",")) if lines else frozenset()


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
