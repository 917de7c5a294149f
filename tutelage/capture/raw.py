"""Raw records: what the relay keeps of a request, of a call and of a shadow call.

On the request path only references are kept: the request's bytes, the answer's chunks as they were relayed, two clocks.
Their fields, in their order, stand in spools (`spooled.py`): to change them is to raise the version of
`tutelage/store/spool.py`. Must not know what becomes of them (`translate.py`).
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from router.types import Arm, RoutePlan
from tutelage.contracts.prices import Price
from tutelage.contracts.records import Feedback

Headers = Sequence[tuple[bytes, bytes]]
"""Header lines in order, names in lower case."""

OFF, METADATA, FULL = "off", "metadata", "full"
"""How much of a request may be kept."""


class RawAttempt(msgspec.Struct, kw_only=True, array_like=True):
    """One upstream call as it went: filled while it runs, read after it ended.

    `chunks` are the body bytes as relayed (before usage was removed again); `overflow` tells that the bound on a kept answer was
    passed and the chunks were dropped; `left_out` names fields of the request that did not reach this upstream as they came.
    `started` is UTC seconds; `_ms` are measured on the monotonic clock. `price` is set by who has read the usage.
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
    price: Price | None = None


class RawPolicy(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Route, key and request combined, the strictest wins. `log`: off, metadata or full."""

    log: str
    train: bool
    purpose: str | None
    redact: frozenset[str] = frozenset()


class RawExchange(msgspec.Struct, kw_only=True, array_like=True, tag="exchange"):
    """One request when serving has ended. `body` is the client's own bytes, `sticky_key` what names its session."""

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


class RawShadow(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="shadow"):
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


Raw = RawExchange | RawShadow | Feedback
"""What the spool takes."""


KnownBy = tuple[str, str, str, float]
"""Id, kind, route ("" where it has none) and the time that retention counts from, UTC seconds."""


def known_by(raw: Raw) -> KnownBy:
    """What stands beside a record."""
    if isinstance(raw, RawExchange):
        return raw.id, "exchange", raw.route, raw.admitted_at
    if isinstance(raw, RawShadow):
        return raw.id, "shadow", raw.route, raw.ended_at
    return raw.id, "feedback", "", raw.at


def attempts_of(raw: RawExchange | RawShadow) -> Sequence[RawAttempt]:
    """The calls in it; a shadow call that was not made is none."""
    if isinstance(raw, RawExchange):
        return raw.attempts
    return () if raw.attempt is None else (raw.attempt,)


def without_content(raw: RawExchange | RawShadow, reason: str) -> RawExchange | RawShadow:
    """What is left of a record that was too large for the queue or could not be translated: all but what was said."""
    if isinstance(raw, RawShadow):
        attempt = None if raw.attempt is None else _emptied(raw.attempt, reason)
        return replace(raw, body=b"", attempt=attempt, lost=raw.lost or reason)
    return replace(raw, body=b"", attempts=[_emptied(item, reason) for item in raw.attempts], slices={})


def _emptied(attempt: RawAttempt, reason: str) -> RawAttempt:
    return replace(attempt, chunks=[], overflow=False, error=attempt.error or reason)
