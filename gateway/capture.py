"""Capture: what the relay keeps of a request, and the pure translation of it into records.

On the request path only references are kept: the request's bytes, the answer's chunks as they were relayed, two clocks. Everything
that costs (parsing, assembling deltas, redaction, pricing, encoding) happens later, in the spool's thread, by the functions here.

Must not know of the event loop, files or the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.upstreams.base import Headers
from router.types import Arm, RoutePlan


@dataclass(slots=True, kw_only=True)
class RawAttempt:
    """One upstream call as it went: filled while it runs, read after it ended.

    `chunks` are the body bytes as relayed (before usage was removed again); `overflow` tells that the bound on a kept answer was
    passed and the chunks were dropped. `started` is UTC seconds; `_ms` are measured on the monotonic clock.
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
    chunks: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPolicy:
    """Route, key and request combined, the strictest wins. `log`: off, metadata or full."""

    log: str
    train: bool
    purpose: str | None
    redact: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RawExchange:
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
    client_gone: bool
    truncated: bool
    ended_ms: float
    overhead_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawShadow:
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
