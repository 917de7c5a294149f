"""One arm's call within a request: built, opened, held, relayed, settled once and recorded, in whatever way it ends.

Must not know of plans and fallbacks: the dispatcher decides what to do with a fault.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from gateway.client import SHUTDOWN, Client, Line
from gateway.errors import NO_RETRY
from gateway.exchange import Incoming, Serving
from gateway.lanes import Lanes, Settle
from gateway.memory import Memory
from gateway.metrics import Metrics
from gateway.relay import Held, Keeper, break_off, head_of, hold, relay
from gateway.routing import Target
from gateway.shadow import ShadowPool
from gateway.sse import Ending
from gateway.upstreams.base import Call, CallRefused, Headers, UpstreamError
from gateway.wire import encode_fields, given, header, inject_usage, with_model
from router.types import FAILURE, IGNORED, SUCCESS, Arm, Outcome
from tutelage.capture.raw import RawAttempt, RawExchange, RawShadow

SERVE = "serve"
RETRY = "retry"
FALLBACK = "fallback"
SHADOW = "shadow"
RESCORE = "rescore"
_DONE = Ending.DONE
_IDEMPOTENT = ("GET", "PUT", "DELETE")
GRACE_S = 5.0
"""How much longer than its upstream may a slow reader take."""


class Sink(Protocol):
    """Where exchanges go: the spool. Never blocks, never raises."""

    def offer(self, raw: RawExchange | RawShadow, /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a process has one of, and what every request uses. Clocks and names are arguments."""

    lanes: Lanes
    shadows: ShadowPool
    spool: Sink
    metrics: Metrics
    memory: Memory
    shedding: Callable[[], bool]
    answer_bytes: int
    new_id: Callable[[], str]
    utc: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random


class Attempt:
    """One arm's call within a request: opened, held, relayed, settled once and recorded, in whatever way it ends."""

    def __init__(  # noqa: PLR0917 positional, because named ones would cost a dictionary
        self, means: Means, incoming: Incoming, serving: Serving, arm: Arm, purpose: str, settle: Settle
    ) -> None:
        self._means = means
        self._incoming = incoming
        self._serving = serving
        self._target = incoming.route.target(arm)
        self._settle = settle
        self._purpose = purpose
        self._held: Held | None = None
        self._outcome = IGNORED
        self._began = means.monotonic()
        self.raw = RawAttempt(
            arm=arm,
            upstream=self._target.upstream,
            version=self._target.version,
            purpose=purpose,
            started=means.utc(),
        )
        counted = incoming.quota is not None and incoming.quota.counts_usage
        keeps = counted or (incoming.route.captured and incoming.policy.log != "off")
        self._keeper = Keeper(self.raw, means.answer_bytes if keeps else 0, means.memory, self._began, means.monotonic)
        serving.attempts.append(self.raw)
        serving.asked = arm

    async def __aenter__(self) -> "Attempt":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Runs before the fallback begins: the connection is closed or given back, the permit settled."""
        means, raw = self._means, self.raw
        raw.total_ms = (means.monotonic() - self._began) * 1000
        self._serving.held_bytes += self._keeper.held_bytes
        self._settle(self._outcome)
        means.metrics.attempt(raw.upstream, raw.error)
        if self._held is not None:
            await self._held.aclose()

    async def held(self) -> Held:
        """The reply, its first event or whole body read. Raises UpstreamError, or Overloaded where it must be held and cannot."""
        means, incoming, raw = self._means, self._incoming, self.raw
        avoid = self._serving.failed_replica if self._purpose == RETRY else None
        waits_from = means.monotonic()
        try:
            made = call_to(means, incoming, self._target, self._purpose, avoid)
            raw.left_out = made.left_out
            lane = means.lanes[raw.upstream]
            reply = await lane.upstream.open(made.call)
            held = self._held = Held(
                reply=reply,
                status=reply.status,
                attempt=raw,
                chunks=reply.chunks(),
                form=incoming.endpoint.form,
                wording=lane.wording,
                echo=incoming.body.model if incoming.route.echoes_model else None,
            )
            await hold(held, self._keeper, strip_usage=made.injected, bound=means.answer_bytes)
        except UpstreamError as error:
            raw.error = error.kind
            raw.broke = raw.first_token_ms is not None
            self._outcome = IGNORED if isinstance(error, CallRefused) else FAILURE
            self._serving.failed_replica = error.replica
            raise
        finally:
            self._serving.upstream_s += means.monotonic() - waits_from
        self._outcome = _outcome_of(held)
        if held.fault is not None:
            self._serving.failed_replica = held.reply.replica
        return held

    async def relayed(self, held: Held, client: Client) -> None:
        """Send the answer to its end, or to where it broke off."""
        means, incoming, serving, raw = self._means, self._incoming, self._serving, self.raw
        now = means.monotonic()
        serving.status = held.status
        serving.served = raw.arm
        serving.overhead_ms = max(0.0, (now - incoming.began - serving.upstream_s) * 1000)
        head = head_of(held, _ours(incoming, serving, raw.arm))
        means.metrics.head(incoming.route.name, raw.arm, now - incoming.began, serving.overhead_ms / 1000)
        fault = held.fault
        judged, self._outcome = self._outcome, IGNORED
        try:
            await relay(held, self._keeper, client, head, self._target.deadlines.total_s + GRACE_S)
        except asyncio.CancelledError:
            if client.cutting:
                break_off(held, client, SHUTDOWN)
                serving.truncated = True
            raise
        self._outcome = FAILURE if raw.broke else judged
        serving.truncated = raw.broke
        serving.cause = raw.error or fault


class Made(msgspec.Struct, frozen=True):
    """A call ready to be sent. `injected`: usage is asked for that the client did not ask for. `asked` is the body before the
    upstream's field policy, None where that changed nothing."""

    call: Call
    injected: bool
    left_out: tuple[str, ...]
    asked: bytes | None


def call_to(means: Means, incoming: Incoming, target: Target, purpose: str, avoid: str | None = None) -> Made:
    """The request as `target` gets it. Raises CallRefused where its upstream's field policy does."""
    body, endpoint = incoming.body, incoming.endpoint
    fields = dict(body.fields) if target.model is None else with_model(body, target.model)
    if purpose in (SHADOW, RESCORE) and given(fields, "store"):
        fields.pop("store")
        fields.pop("metadata", None)
    counted = incoming.route.usage_injected and endpoint.form.ending is _DONE
    injected = counted and body.stream and inject_usage(fields)
    left_out: tuple[str, ...] = ()
    asked = None
    if target.fields.concerns(fields):
        asked = encode_fields(fields)
        done = target.fields.apply(fields)
        left_out = tuple(field for field, _ in done)
        for field, rule in done:
            means.metrics.field(target.upstream, field, rule)
    untouched = target.model is None and not injected and not left_out and purpose in (SERVE, RETRY, FALLBACK)
    own = [(b"x-request-id", _id_of(means, incoming, target, purpose)), *incoming.own]
    if target.account_is_clients:
        own += incoming.head.account
    if purpose in (SHADOW, RESCORE):  # a call of its own, to be made whatever became of the client's
        own = [line for line in own if line[0] != b"idempotency-key"]
    return Made(
        Call(
            method=endpoint.method,
            path=endpoint.path,
            lines=incoming.head.as_it_came if endpoint.opaque else incoming.head.as_json,
            headers=own,
            body=body.raw if untouched else encode_fields(fields),
            deadlines=target.deadlines,
            affinity=incoming.sticky_key,
            avoid=avoid,
            repeatable=not endpoint.opaque or _may_be_repeated(endpoint.method, incoming.own),
        ),
        injected,
        left_out,
        asked,
    )


def _id_of(means: Means, incoming: Incoming, target: Target, purpose: str) -> bytes:
    """What this call is known by: no two calls by the same name. The client's own name reaches the teacher only."""
    if purpose != SERVE:
        return means.new_id().encode()
    name = incoming.named_by_client if target is incoming.route.teacher else None
    return name or incoming.id.encode()


def _may_be_repeated(method: str, headers: Headers) -> bool:
    """By HTTP's rules; models' endpoints only compute, whatever their method."""
    return method in _IDEMPOTENT or header(headers, b"idempotency-key") is not None


def _ours(incoming: Incoming, serving: Serving, arm: Arm) -> list[Line]:
    lines = [
        (b"x-tutelage-request-id", incoming.id.encode()),
        (b"x-tutelage-overhead-ms", f"{serving.overhead_ms:.2f}".encode()),
    ]
    if not incoming.route.blind:
        lines.append((b"x-tutelage-arm", arm.encode()))
    if serving.out_of_retries and serving.status >= 400:
        lines += NO_RETRY
    return lines


def _outcome_of(held: Held) -> Outcome:
    if held.status >= 500:
        return FAILURE
    if held.status >= 400:
        return IGNORED
    return SUCCESS if held.fault is None else FAILURE
