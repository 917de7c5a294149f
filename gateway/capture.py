"""Capture: what the relay keeps of a request, and the pure translation of it into records.

On the request path only references are kept: the request's bytes, the answer's chunks as they were relayed, two clocks.
Everything that costs (parsing, assembling deltas, redaction, pricing, encoding) happens later, in the spool's thread, by
the functions here.

Must not know of the event loop, files or the network. What bytes say is `gateway/answers.py`; what must not be written,
`gateway/redact.py`.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from gateway.answers import Malformed, Reading, is_stream, read_answer, read_json
from gateway.redact import RedactionFailed
from gateway.upstreams.base import Headers
from gateway.wire import header
from router.types import Arm, RoutePlan
from tutelage.contracts.prices import Price
from tutelage.contracts.pseudonyms import Pseudonyms
from tutelage.contracts.records import (
    Answer,
    Attempt,
    CapturePolicy,
    Exchange,
    Feedback,
    Json,
    Plan,
    ShadowAttempt,
    Spooled,
    Usage,
)
from tutelage.contracts.redaction import CLASSES, version_of


class RawAttempt(msgspec.Struct, kw_only=True):
    """One upstream call as it went: filled while it runs, read after it ended.

    `chunks` are the body bytes as relayed (before usage was removed again); `overflow` tells that the bound on a kept answer was
    passed and the chunks were dropped; `left_out` names fields of the request that did not reach this upstream as they came.
    `started` is UTC seconds; `_ms` are measured on the monotonic clock.
    """

    arm: Arm
    upstream: str
    version: str
    purpose: str
    started: float
    status: int | None = None
    headers: Headers = ()
    first_token_ms: float | None = None
    total_ms: float = 0.0
    error: str | None = None
    broke: bool = False
    overflow: bool = False
    left_out: tuple[str, ...] = ()
    chunks: list[bytes] = []


class RawPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Route, key and request combined, the strictest wins. `log`: off, metadata or full."""

    log: str
    train: bool
    purpose: str | None
    redact: frozenset[str] = frozenset()


class RawExchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request when serving has ended. `body` is the client's own bytes."""

    id: str
    generation: int
    snapshot: int
    digest: str
    route: str
    tenant: str
    key_id: str
    endpoint: str
    stream: bool
    body: bytes
    sticky_source: str
    sticky_key: str
    salt: str
    revision: int
    epoch: str
    plan: RoutePlan
    slices: dict[str, str]
    policy: RawPolicy
    admitted_at: float
    attempts: Sequence[RawAttempt]
    served_arm: Arm | None
    outcome: str
    cause: str | None
    successor: str | None
    client_gone: bool
    truncated: bool
    ended_ms: float
    overhead_ms: float | None


class RawShadow(msgspec.Struct, frozen=True, kw_only=True):
    """The other arm's call when it has ended, or the reason why there is none (`lost`)."""

    id: str
    exchange_id: str
    route: str
    endpoint: str
    stream: bool
    body: bytes
    policy: RawPolicy
    ended_at: float
    attempt: RawAttempt | None
    lost: str | None


# --- from what was kept to what is written ----------------------------------------------------------------------------

OFF, METADATA, FULL = "off", "metadata", "full"
TOO_LARGE = "too_large"
REDACTION_FAILED = "redaction_failed"

Redact = Callable[[Json, frozenset[str]], Json]
"""Takes secrets and contacts out of a JSON value; raises RedactionFailed."""
PriceOf = Callable[[str, Usage | None, float], Price | None]
"""What a call to an upstream cost: by its name, tokens and milliseconds."""

_KEPT_HEADERS = frozenset({b"content-type", b"x-request-id", b"retry-after", b"retry-after-ms"})
_KEPT_PREFIXES = (b"openai-", b"x-ratelimit-", b"anthropic-ratelimit-")
_MAX_HEADER_CHARS = 512
_NOT_PARAMETERS = frozenset({"model", "user", "metadata", "stream_options", "stream", "store"})
_PEOPLE = ("user", "safety_identifier", "prompt_cache_key")
"""Fields that name a person: stored as pseudonyms only."""
_AS_THEY_STAND = frozenset({"chat.completions", "completions", "embeddings"})
"""Endpoints whose strings, in bodies that are no streams, are never put together out of several."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What the translation needs beside the raw record."""

    gateway: str
    pseudonyms: Pseudonyms
    redact: Redact
    price: PriceOf


Written_co = TypeVar("Written_co", bound=Spooled, covariant=True)


class Captured(msgspec.Struct, Generic[Written_co], frozen=True, kw_only=True):
    """A record to be written. `lost` names why its content is not in it (a counted reason), None where nothing is missing."""

    record: Written_co
    at: float
    lost: str | None = None


def capture_exchange(raw: RawExchange, sequence: int, context: Context) -> Captured[Exchange]:
    """The record of an exchange. Content that cannot be read or redacted is left out, the rest of the row stays."""
    asked = _readable(raw.body)
    cut = raw.client_gone or raw.truncated
    request, lost = _request(raw, asked, context)
    made: list[Attempt] = []
    for item in raw.attempts:
        attempt, reason = _attempt(item, raw.endpoint, raw.policy, context, cut=cut)
        made.append(attempt)
        lost = lost or reason
    attempts, texts = tuple(made), _user_texts(asked)
    if lost == REDACTION_FAILED:
        request, attempts = None, tuple(_stripped(attempt, lost) for attempt in attempts)
    record = Exchange(
        id=raw.id,
        gateway=context.gateway,
        sequence=sequence,
        generation=raw.generation,
        snapshot=raw.snapshot,
        digest=raw.digest,
        route=raw.route,
        tenant=raw.tenant,
        key_id=raw.key_id,
        subject=_subject(asked, context),
        conversation=context.pseudonyms.of("conversation", raw.sticky_key),
        turn=len(texts) or None if texts is not None else None,
        admitted_at=raw.admitted_at,
        endpoint=raw.endpoint,
        stream=raw.stream,
        request=request,
        params_hash=_params_hash(raw.body, asked),
        input_hash=_input_hash(texts) if raw.policy.log == FULL else None,
        sticky_source=raw.sticky_source,
        salt=raw.salt,
        revision=raw.revision,
        epoch=raw.epoch,
        plan=Plan.of(raw.plan),
        attempts=attempts,
        served_arm=raw.served_arm,
        outcome=raw.outcome,
        policy=_policy(raw.policy),
        cause=raw.cause,
        successor=raw.successor,
        client_gone=raw.client_gone,
        truncated=raw.truncated,
        ended_ms=raw.ended_ms,
        overhead_ms=raw.overhead_ms,
        slices=raw.slices,
        response_headers=_kept_headers(raw),
    )
    return Captured(record=record, at=raw.admitted_at, lost=lost)


def capture_shadow(raw: RawShadow, context: Context) -> Captured[ShadowAttempt]:
    """The record of a shadow call; where its answer is lost on the way, `lost` says so in the record too."""
    attempt, reason = None, None
    if raw.attempt is not None:
        attempt, reason = _attempt(raw.attempt, raw.endpoint, raw.policy, context, cut=raw.lost is not None)
    record = ShadowAttempt(
        id=raw.id,
        exchange_id=raw.exchange_id,
        gateway=context.gateway,
        route=raw.route,
        ended_at=raw.ended_at,
        attempt=attempt,
        params_hash=params_hash(raw.body),
        lost=raw.lost or reason,
    )
    return Captured(record=record, at=raw.ended_at, lost=reason)


def capture_feedback(feedback: Feedback, context: Context) -> Captured[Feedback]:
    """Feedback as it is written. It does not know its route's policy: every class is taken out of what people wrote."""
    value = context.redact(feedback.value, frozenset(CLASSES))
    return Captured(record=msgspec.structs.replace(feedback, value=value), at=feedback.at)


def without_content(raw: RawExchange | RawShadow, reason: str) -> RawExchange | RawShadow:
    """What is left of a record that was too large for the queue or could not be translated: all but what was said."""
    if isinstance(raw, RawShadow):
        attempt = None if raw.attempt is None else _emptied(raw.attempt, reason)
        return replace(raw, body=b"", attempt=attempt, lost=raw.lost or reason)
    return replace(raw, body=b"", attempts=[_emptied(item, reason) for item in raw.attempts], slices={})


def said(raw: RawExchange | RawShadow | Feedback) -> bytes | None:
    """The JSON texts of a record whose strings are written as they stand there, one after the other: where nothing need be taken
    out of these bytes, nothing need be of the record. None where strings are put together first: streams, responses."""
    if isinstance(raw, Feedback):
        return None
    if raw.policy.log != FULL or not raw.policy.redact:
        return b""
    if raw.endpoint not in _AS_THEY_STAND:
        return None
    attempts = raw.attempts if isinstance(raw, RawExchange) else (raw.attempt,) if raw.attempt is not None else ()
    pieces = [raw.body]
    for attempt in attempts:
        answer = b"".join(attempt.chunks)
        if is_stream(answer, _header(attempt, b"content-type")):
            return None
        pieces.append(answer)
    return b"\n".join(pieces)


def harmless(context: Context) -> Context:
    """The context for records out of which nothing need be taken."""
    return replace(context, redact=_as_it_is)


def _as_it_is(value: Json, _: frozenset[str]) -> Json:
    return value


def params_hash(body: bytes) -> str:
    """SHA-256 of the request as canonical JSON, without what changes no answer: equal where both arms were asked the same."""
    return _params_hash(body, _readable(body))


def canonical(text: str) -> str:
    """The form of an input that is hashed: NFC-normalised, without white space at either end."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()


def input_sha256(text: str) -> str:
    """The key of an input in a file of references: SHA-256, in hex, of its canonical form in UTF-8."""
    return hashlib.sha256(canonical(text).encode("utf-8")).hexdigest()


# --- the request ------------------------------------------------------------------------------------------------------


def _readable(body: bytes) -> dict[str, Any] | None:
    try:
        value = read_json(body)
    except Malformed:
        return None
    return value if isinstance(value, dict) else None


def _request(raw: RawExchange, asked: dict[str, Any] | None, context: Context) -> tuple[Json, str | None]:
    """The request as it is stored, or why it is not."""
    if raw.policy.log != FULL:
        return None, None
    if asked is None:
        return None, REDACTION_FAILED if raw.body else TOO_LARGE
    kept = {name: value for name, value in asked.items() if name != "model"}
    for name in _PEOPLE:
        if isinstance(kept.get(name), str):
            kept[name] = context.pseudonyms.of("subject", kept[name])
    try:
        return context.redact(kept, raw.policy.redact), None
    except RedactionFailed:
        return None, REDACTION_FAILED


def _params_hash(body: bytes, asked: dict[str, Any] | None) -> str:
    """A body that cannot be read is hashed as it is."""
    if asked is None:
        return hashlib.sha256(body).hexdigest()
    parameters = {name: value for name, value in asked.items() if name not in _NOT_PARAMETERS}
    return hashlib.sha256(msgspec.json.encode(parameters, order="sorted")).hexdigest()


def _subject(asked: dict[str, Any] | None, context: Context) -> str | None:
    """Who asked, as the application says: its end user's name for the provider."""
    names = ((asked or {}).get(field) for field in ("safety_identifier", "user"))
    name = next((name for name in names if isinstance(name, str) and name), None)
    return None if name is None else context.pseudonyms.of("subject", name)


def _user_texts(asked: dict[str, Any] | None) -> list[str] | None:
    """What users said, message by message, text parts joined; None where the endpoint has no messages.

    One prompt by itself is one message; several at once are no conversation.
    """
    messages = next((asked[name] for name in ("messages", "input", "prompt") if name in asked), None) if asked else None
    if isinstance(messages, list) and len(messages) == 1 and isinstance(messages[0], str):
        messages = messages[0]
    if isinstance(messages, str):
        return [messages]
    if not isinstance(messages, list):
        return None
    said = [item.get("content") for item in messages if isinstance(item, dict) and item.get("role") == "user"]
    return [_joined(content) for content in said]


def _joined(content: Json) -> str:
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    parts = [part for part in content if isinstance(part, dict) and part.get("type") in ("text", "input_text")]
    return "".join(text for part in parts if isinstance(text := part.get("text"), str))


def input_hash(asked: dict[str, Any] | None) -> str | None:
    """What an input is known by: the hash of its last user message; None where there is none."""
    return _input_hash(_user_texts(asked))


def _input_hash(texts: list[str] | None) -> str | None:
    return input_sha256(texts[-1]) if texts else None


@lru_cache(maxsize=256)
def _policy(policy: RawPolicy) -> CapturePolicy:
    version = version_of(policy.redact) if policy.log == FULL else None
    return CapturePolicy(log=policy.log, train=policy.train, purpose=policy.purpose, redaction_version=version)


# --- attempts ---------------------------------------------------------------------------------------------------------


def _attempt(
    raw: RawAttempt, endpoint: str, policy: RawPolicy, context: Context, *, cut: bool
) -> tuple[Attempt, str | None]:
    """The record of a call, and why its answer is missing where it should be there. `cut`: we ended it, not the upstream."""
    reading = _reading(raw, endpoint, cut=cut)
    answer, lost = None, TOO_LARGE if raw.overflow and policy.log == FULL else None
    try:
        if reading.answer is not None and policy.log == FULL:
            answer = _redacted(reading.answer, policy.redact, context.redact)
    except RedactionFailed:
        lost = REDACTION_FAILED
    price = context.price(raw.upstream, reading.usage, raw.total_ms)
    attempt = Attempt(
        arm=raw.arm,
        upstream=raw.upstream,
        version=raw.version,
        purpose=raw.purpose,
        started=raw.started,
        left_out=raw.left_out,
        total_ms=raw.total_ms,
        first_token_ms=raw.first_token_ms,
        status=raw.status,
        error=raw.error or _status_error(raw.status) or reading.error or lost,
        broke=raw.broke or reading.broke,
        upstream_request_id=_header(raw, b"x-request-id") or _header(raw, b"request-id"),
        fingerprint=reading.fingerprint,
        usage=reading.usage,
        cost_nusd=None if price is None else price.nusd,
        price_version=None if price is None else price.version,
        answer=answer,
    )
    return attempt, lost


def _reading(raw: RawAttempt, endpoint: str, *, cut: bool) -> Reading:
    if raw.status is None or raw.status >= 400 or raw.overflow or (raw.error is not None and not raw.chunks):
        return Reading()
    reading = read_answer(b"".join(raw.chunks), endpoint=endpoint, content_type=_header(raw, b"content-type"))
    return replace(reading, error=None, broke=False) if cut else reading


def _redacted(answer: Answer, classes: frozenset[str], redact: Redact) -> Answer:
    """Token by token a secret is not recognised, so log-probabilities go where anything was taken out."""
    choices = list(answer.choices)
    clean = redact(choices, classes)
    if clean is choices or clean == choices:
        return answer
    first = clean[0]
    return msgspec.structs.replace(
        answer,
        text=first.get("content") if isinstance(first.get("content"), str) else None,
        choices=tuple(clean),
        refusal=first.get("refusal") if isinstance(first.get("refusal"), str) else None,
        tool_calls=tuple(first.get("tool_calls") or ()),
        logprobs=None,
    )


def _stripped(attempt: Attempt, reason: str) -> Attempt:
    if attempt.answer is None:
        return attempt
    return msgspec.structs.replace(attempt, answer=None, error=attempt.error or reason)


def _emptied(attempt: RawAttempt, reason: str) -> RawAttempt:
    return replace(attempt, chunks=[], overflow=False, error=attempt.error or reason)


def _status_error(status: int | None) -> str | None:
    return f"status_{status}" if status is not None and status >= 400 else None


def _header(raw: RawAttempt, name: bytes) -> str | None:
    value = header(raw.headers, name)
    return None if value is None else value.decode("latin-1")[:_MAX_HEADER_CHARS]


def _kept_headers(raw: RawExchange) -> dict[str, str]:
    """Of the attempt that served: what tells how the provider saw this call."""
    served = next((attempt for attempt in reversed(raw.attempts) if attempt.arm is raw.served_arm), None)
    lines = () if served is None else served.headers
    return {
        name.decode("latin-1"): value.decode("latin-1")[:_MAX_HEADER_CHARS] for name, value in lines if _is_kept(name)
    }


@lru_cache(maxsize=1024)
def _is_kept(name: bytes) -> bool:
    return name in _KEPT_HEADERS or name.startswith(_KEPT_PREFIXES)
