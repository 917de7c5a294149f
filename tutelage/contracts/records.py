"""Records: what is written, once. One schema version each; everything stored or shipped is one of these.

Here is what gateways spool, and what an upstream's account came to. What control makes of it is in `pairs` and `decisions`,
API keys are in `keys`; the rules below hold for all of them.

Times are UTC seconds (float); durations are monotonic milliseconds (`_ms`); money is integer nano-dollars (`_nusd`);
shares and propensities are basis points (`_bp`). None means unknown, never zero. Text is as captured, after redaction.

Add a field: give it a default, raise `SCHEMA_VERSION`, say it in docs/RECORDS.md. Records know nothing of who writes
them.
"""

from typing import Any

import msgspec

from router.types import Arm, RoutePlan

SCHEMA_VERSION = 1
Json = Any  # a decoded JSON value: str, int, float, bool, None, list or dict of these


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of all records: immutable, keyword-only, encoded by `encode`."""


class Usage(Record, frozen=True, kw_only=True):
    """Tokens of one answer, as the upstream counted them."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    reasoning: int | None = None


class Answer(Record, frozen=True, kw_only=True):
    """One arm's answer: all choices in the order of their index, as JSON objects of the API's `message` shape.

    A streamed answer is assembled from its deltas. `text` is the first choice's content (None when it has none).
    """

    text: str | None = None
    choices: tuple[Json, ...] = ()
    finish_reason: str | None = None
    refusal: str | None = None
    tool_calls: tuple[Json, ...] = ()
    logprobs: Json = None


CONTENT_LOST = ("too_large", "redaction_failed")
"""Of a call that was answered: its answer could not be kept."""


class Attempt(Record, frozen=True, kw_only=True):
    """One upstream call. `purpose`: serve, retry, fallback, shadow or rescore. `started` is UTC seconds.

    `status` is the upstream's HTTP status or None when none came; `error` is an error class of
    `gateway.upstreams.base` ("connect", "timeout_first_token", "status_500", "truncated", …) or None.
    `broke` tells that the answer began and did not end. `left_out` names fields of the request that did not reach this
    upstream as they came: dropped, or said in its own words.
    """

    arm: Arm
    upstream: str
    version: str
    purpose: str
    started: float
    total_ms: float
    first_token_ms: float | None = None
    status: int | None = None
    error: str | None = None
    broke: bool = False
    upstream_request_id: str | None = None
    fingerprint: str | None = None
    usage: Usage | None = None
    cost_nusd: int | None = None
    price_version: str | None = None
    answer: Answer | None = None
    left_out: tuple[str, ...] = ()


class Plan(Record, frozen=True, kw_only=True):
    """`router.types.RoutePlan` as stored."""

    serve: Arm
    assigned: Arm
    fallback: Arm | None
    shadow: Arm | None
    holdout: bool
    in_population: bool
    reasons: tuple[str, ...]
    bucket: int
    share_bp: int
    arm_bp: int
    shadow_bp: int
    floor_bp: int
    policy_version: int

    @classmethod
    def of(cls, plan: RoutePlan) -> "Plan":
        return cls(
            serve=plan.serve,
            assigned=plan.assigned,
            fallback=plan.fallback,
            shadow=plan.shadow,
            holdout=plan.holdout,
            in_population=plan.in_population,
            reasons=plan.reasons,
            bucket=plan.bucket,
            share_bp=plan.share_bp,
            arm_bp=plan.arm_bp,
            shadow_bp=plan.shadow_bp,
            floor_bp=plan.floor_bp,
            policy_version=plan.policy_version,
        )


class CapturePolicy(Record, frozen=True, kw_only=True):
    """Which policy allowed this row: `log` is off, metadata or full; `train` False where anybody denied it."""

    log: str
    train: bool
    purpose: str | None = None
    redaction_version: str | None = None


class Exchange(Record, frozen=True, kw_only=True, tag="exchange", tag_field="kind"):
    """One request with its attempts and answer, spooled when serving ends.

    `request` is the redacted request JSON without `model` (None when `policy.log` is not "full");
    `params_hash` covers the request without model, user and metadata; `input_hash` the canonical last user message.
    `outcome`: ok, client_error, upstream_error, client_cancelled or truncated. `cause` names the fault.
    """

    id: str
    gateway: str
    sequence: int
    generation: int
    snapshot: int
    digest: str
    route: str
    tenant: str
    key_id: str
    subject: str | None
    conversation: str
    turn: int | None
    admitted_at: float
    endpoint: str
    stream: bool
    request: Json
    params_hash: str
    input_hash: str | None
    sticky_source: str
    salt: str
    revision: int
    epoch: str
    plan: Plan
    attempts: tuple[Attempt, ...]
    served_arm: Arm | None
    outcome: str
    policy: CapturePolicy
    cause: str | None = None
    successor: str | None = None
    client_gone: bool = False
    truncated: bool = False
    ended_ms: float = 0.0
    overhead_ms: float | None = None
    slices: dict[str, str] = {}
    response_headers: dict[str, str] = {}
    schema: int = SCHEMA_VERSION


class ShadowAttempt(Record, frozen=True, kw_only=True, tag="shadow", tag_field="kind"):
    """The other arm's answer to an exchange, spooled on its own when it ends, whatever became of it.

    `lost` names why there is no attempt (a counted reason: "too_large", "redaction_failed", "shutdown", …), else None.
    """

    id: str
    exchange_id: str
    gateway: str
    route: str
    ended_at: float
    attempt: Attempt | None
    params_hash: str
    lost: str | None = None
    schema: int = SCHEMA_VERSION


class Feedback(Record, frozen=True, kw_only=True, tag="feedback", tag_field="kind"):
    """What a person said of an exchange. `type`: thumb, score, comment or correction."""

    id: str
    exchange_id: str
    tenant: str
    type: str
    value: Json
    at: float
    schema: int = SCHEMA_VERSION


Spooled = Exchange | ShadowAttempt | Feedback


class Spending(Record, frozen=True, kw_only=True):
    """What one account of a route came to on a UTC day (days since 1970). Key: (route, day, account); sums add.

    `account` is teacher, student, shadow, reverse, rescore or judge. `unpriced` calls cost something that nobody knows.
    """

    route: str
    day: int
    account: str
    calls: int
    unpriced: int
    nusd: int


_encoder = msgspec.json.Encoder()
_spooled: msgspec.json.Decoder[Spooled] = msgspec.json.Decoder(Spooled)


def encode(record: Record) -> bytes:
    """A record as canonical JSON bytes (fields in declared order)."""
    return _encoder.encode(record)


def decode_record(body: bytes) -> Spooled:
    """What `encode` wrote. Raises msgspec.ValidationError naming the field that does not fit."""
    return _spooled.decode(body)
