"""The pure translation of what the relay kept (`raw.py`) into records.

Everything that costs is here: parsing, assembling deltas, redaction, pricing. What bytes say is `answers.py` and `asked.py`;
what must not be written, `gateway/redact.py`. A route that is watched hands over thousands of records a
second while the event loop waits for the same interpreter: what is the same for all of them is made once.

Must not know of the event loop, files or the network.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from tutelage.capture.answers import is_stream, read_answer
from tutelage.capture.asked import PEOPLE, Asked, input_hash, params_hash, read_asked, subject_of, user_texts
from tutelage.capture.bodies import Reading
from tutelage.capture.raw import FULL, Headers, Raw, RawAttempt, RawExchange, RawPolicy, RawShadow, attempts_of
from tutelage.contracts.prices import Price
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
from tutelage.contracts.redaction import CLASSES, RedactionFailed, version_of

TOO_LARGE = "too_large"
REDACTION_FAILED = "redaction_failed"

Redact = Callable[[Json, frozenset[str]], Json]
"""Takes secrets and contacts out of a JSON value; raises RedactionFailed."""
PriceOf = Callable[[str, Usage | None, float], Price | None]
"""What a call to an upstream cost: by its name, tokens and milliseconds."""

_KEPT_HEADERS = frozenset({b"content-type", b"x-request-id", b"retry-after", b"retry-after-ms"})
_KEPT_PREFIXES = (b"openai-", b"x-ratelimit-", b"anthropic-ratelimit-")
MAX_HEADER_CHARS = 512
AS_THEY_STAND = frozenset({"chat.completions", "completions", "embeddings"})
"""Endpoints whose strings, in bodies that are no streams, are never put together out of several."""
_NOTHING = Reading()


class Pseudonyms(Protocol):
    """Keyed hashes."""

    def of(self, kind: str, value: str, /) -> str:
        """The pseudonym of `value`."""


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
    lost: str | None = None


def capture_exchange(raw: RawExchange, sequence: int, context: Context) -> Captured[Exchange]:
    """The record of an exchange. Content that cannot be read or redacted is left out, the rest of the row stays."""
    asked, policy = read_asked(raw.body), raw.policy
    texts, subject = user_texts(asked), subject_of(asked)
    request, lost = _request(raw, asked, context)
    cut = raw.client_gone or raw.truncated
    attempts: list[Attempt] = []
    kept: dict[str, str] = {}
    for item in raw.attempts:
        headers = _first_of_each(item.headers)
        attempt, reason = _attempt(item, headers, raw.endpoint, policy, context, cut=cut)
        attempts.append(attempt)
        lost = lost or reason
        if item.arm is raw.served_arm:
            kept = _kept(item.headers)
    if lost == REDACTION_FAILED:
        request, attempts = None, [_stripped(attempt, lost) for attempt in attempts]
    pseudonym = context.pseudonyms.of
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
        subject=None if subject is None else pseudonym("subject", subject),
        conversation=pseudonym("conversation", raw.sticky_key),
        turn=len(texts) if texts else None,
        admitted_at=raw.admitted_at,
        endpoint=raw.endpoint,
        stream=raw.stream,
        request=request,
        params_hash=params_hash(raw.body, asked),
        input_hash=input_hash(texts) if policy.log == FULL else None,
        sticky_source=raw.sticky_source,
        salt=raw.salt,
        revision=raw.revision,
        epoch=raw.epoch,
        plan=Plan.of(raw.plan),
        attempts=tuple(attempts),
        served_arm=raw.served_arm,
        outcome=raw.outcome,
        policy=_policy(policy),
        cause=raw.cause,
        successor=raw.successor,
        client_gone=raw.client_gone,
        truncated=raw.truncated,
        ended_ms=raw.ended_ms,
        overhead_ms=raw.overhead_ms,
        slices=raw.slices,
        response_headers=kept,
    )
    return Captured(record=record, lost=lost)


def capture_shadow(raw: RawShadow, context: Context) -> Captured[ShadowAttempt]:
    """The record of a shadow call; where its answer is lost on the way, `lost` says so in the record too."""
    attempt, reason = None, None
    if (item := raw.attempt) is not None:
        headers = _first_of_each(item.headers)
        attempt, reason = _attempt(item, headers, raw.endpoint, raw.policy, context, cut=raw.lost is not None)
    record = ShadowAttempt(
        id=raw.id,
        exchange_id=raw.exchange_id,
        gateway=context.gateway,
        route=raw.route,
        ended_at=raw.ended_at,
        attempt=attempt,
        params_hash=params_hash(raw.body, read_asked(raw.body)),
        lost=raw.lost or reason,
    )
    return Captured(record=record, lost=reason)


def capture_feedback(feedback: Feedback, context: Context) -> Captured[Feedback]:
    """Feedback as it is written. It does not know its route's policy: every class is taken out of what people wrote."""
    value = context.redact(feedback.value, frozenset(CLASSES))
    return Captured(record=replace(feedback, value=value))


def said(raw: Raw) -> bytes | None:
    """The JSON texts of a record whose strings are written as they stand there, one after the other: where nothing need be taken
    out of these bytes, nothing need be of the record. None where strings are put together first: streams, responses."""
    if isinstance(raw, Feedback):
        return None
    if raw.policy.log != FULL or not raw.policy.redact:
        return b""
    if raw.endpoint not in AS_THEY_STAND:
        return None
    pieces = [raw.body]
    for attempt in attempts_of(raw):
        answer = b"".join(attempt.chunks)
        if is_stream(answer, content_type_of(attempt.headers)):
            return None
        pieces.append(answer)
    return b"\n".join(pieces)


def harmless(context: Context) -> Context:
    """The context for records out of which nothing need be taken."""
    return replace(context, redact=as_it_is)


def as_it_is(value: Json, _: frozenset[str]) -> Json:
    """A `Redact` that takes nothing out."""
    return value


def _request(raw: RawExchange, asked: Asked | None, context: Context) -> tuple[Json, str | None]:
    """The request as it is stored, or why it is not."""
    if raw.policy.log != FULL:
        return None, None
    if asked is None:
        return None, REDACTION_FAILED if raw.body else TOO_LARGE
    kept = asked.copy()
    kept.pop("model", None)
    for name in PEOPLE:
        if name in kept and isinstance(kept[name], str):
            kept[name] = context.pseudonyms.of("subject", kept[name])
    try:
        return context.redact(kept, raw.policy.redact), None
    except RedactionFailed:
        return None, REDACTION_FAILED


@lru_cache(maxsize=256)
def _policy(policy: RawPolicy) -> CapturePolicy:
    version = version_of(policy.redact) if policy.log == FULL else None
    return CapturePolicy(log=policy.log, train=policy.train, purpose=policy.purpose, redaction_version=version)


# --- attempts ---------------------------------------------------------------------------------------------------------


def _attempt(
    raw: RawAttempt, headers: Mapping[bytes, bytes], endpoint: str, policy: RawPolicy, context: Context, *, cut: bool
) -> tuple[Attempt, str | None]:
    """The record of a call, and why its answer is missing where it should be there. `cut`: we ended it, not the upstream."""
    status, reading = raw.status, _reading(raw, headers, endpoint)
    error, broke = (None, False) if cut else (reading.error, reading.broke)
    answer, lost = None, TOO_LARGE if raw.overflow and policy.log == FULL else None
    try:
        if reading.answer is not None and policy.log == FULL:
            answer = _redacted(reading.answer, policy.redact, context.redact)
    except RedactionFailed:
        lost = REDACTION_FAILED
    price = raw.price or context.price(raw.upstream, reading.usage, raw.total_ms)
    attempt = Attempt(
        arm=raw.arm,
        upstream=raw.upstream,
        version=raw.version,
        purpose=raw.purpose,
        started=raw.started,
        left_out=raw.left_out,
        total_ms=raw.total_ms,
        first_token_ms=raw.first_token_ms,
        status=status,
        error=raw.error or (f"status_{status}" if status is not None and status >= 400 else error or lost),
        broke=raw.broke or broke,
        upstream_request_id=_text(headers.get(b"x-request-id")) or _text(headers.get(b"request-id")),
        fingerprint=reading.fingerprint,
        usage=reading.usage,
        cost_nusd=None if price is None else price.nusd,
        price_version=None if price is None else price.version,
        answer=answer,
    )
    return attempt, lost


def _reading(raw: RawAttempt, headers: Mapping[bytes, bytes], endpoint: str) -> Reading:
    if raw.status is None or raw.status >= 400 or raw.overflow or (raw.error is not None and not raw.chunks):
        return _NOTHING
    return read_answer(b"".join(raw.chunks), endpoint=endpoint, content_type=_text(headers.get(b"content-type")))


def _redacted(answer: Answer, classes: frozenset[str], redact: Redact) -> Answer:
    """Token by token a secret is not recognised, so log-probabilities go where anything was taken out."""
    choices = list(answer.choices)
    clean = redact(choices, classes)
    if clean is choices or clean == choices:
        return answer
    first = clean[0]
    return replace(
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
    return replace(attempt, answer=None, error=attempt.error or reason)


# --- header lines -----------------------------------------------------------------------------------------------------


def _first_of_each(headers: Headers) -> dict[bytes, bytes]:
    return dict(reversed(headers))


def _kept(headers: Headers) -> dict[str, str]:
    """What tells how the provider saw this call."""
    return {
        name: value.decode("latin-1")[:MAX_HEADER_CHARS]
        for line, value in headers
        if (name := _kept_name(line)) is not None
    }


@lru_cache(maxsize=1024)
def _kept_name(name: bytes) -> str | None:
    return name.decode("latin-1") if is_kept(name) else None


@lru_cache(maxsize=1024)
def is_kept(name: bytes) -> bool:
    """Whether records keep an answer's header of this name."""
    return name in _KEPT_HEADERS or name.startswith(_KEPT_PREFIXES)


def content_type_of(headers: Headers) -> str | None:
    """The first one's value."""
    for name, value in headers:
        if name == b"content-type":
            return _text(value)
    return None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")[:MAX_HEADER_CHARS]
