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
from gateway.lanes import Lane, Lanes
from gateway.memory import Memory
from gateway.metrics import Metrics
from gateway.relay import Held, break_off, head_of, hold, relay
from gateway.routing import Target
from gateway.shadow import ShadowPool
from gateway.sse import Ending
from gateway.upstreams.base import Call, CallRefused, Headers, UpstreamError
from gateway.wire import encode_fields, given, header, inject_usage, with_model
from router.breaker import Permit
from router.types import FAILURE, IGNORED, SUCCESS, Arm, Outcome
from tutelage.capture.raw import RawAttempt, RawExchange, RawShadow

SERVE = "serve"
RETRY = "retry"
FALLBACK = "fallback"
SHADOW = "shadow"
RESCORE = "rescore"
_BESIDE = (SHADOW, RESCORE)
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
    """One arm's call within a request, from `began` on. `close` must follow, whatever becomes of it."""

    __slots__ = (
        "_began", "_held", "_incoming", "_known_at", "_lane", "_means", "_outcome", "_permit", "_serving", "_target", "raw",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917 what it is made of, in the order of its life
        self,
        means: Means,
        incoming: Incoming,
        serving: Serving,
        arm: Arm,
        purpose: str,
        lane: Lane,
        permit: Permit,
        began: float,
    ) -> None:
        self._means = means
        self._incoming = incoming
        self._serving = serving
        self._target = target = incoming.route.target(arm)
        self._lane = lane
        self._permit = permit
        self._held: Held | None = None
        self._outcome = IGNORED
        self._began = self._known_at = began
        self.raw = RawAttempt(
            arm=arm, upstream=target.upstream, version=target.version, purpose=purpose, started=means.utc()
        )
        serving.attempts.append(self.raw)
        serving.asked = arm

    async def close(self) -> None:
        """Before the fallback begins: the connection is closed or given back, the permit settled."""
        means, raw, held, ended = self._means, self.raw, self._held, self._means.monotonic()
        raw.total_ms = (ended - self._began) * 1000
        self._lane.settle(self._permit, self._outcome, ended)
        means.metrics.attempt(raw.upstream, raw.error)
        if held is not None:
            self._serving.held_bytes += held.held_bytes
            if not held.closed:
                await held.aclose()

    async def held(self) -> Held:
        """The reply, its first event or whole body read. Raises UpstreamError, or Overloaded where it must be held and cannot."""
        means, incoming, serving, raw = self._means, self._incoming, self._serving, self.raw
        avoid = serving.failed_replica if raw.purpose == RETRY else None
        try:
            made = call_to(means, incoming, self._target, raw.purpose, avoid)
            raw.left_out = made.left_out
            reply = await self._lane.upstream.open(made.call)
            held = self._held = Held(
                reply=reply,
                status=reply.status,
                attempt=raw,
                chunks=reply.chunks(),
                form=incoming.endpoint.form,
                wording=self._lane.wording,
                echo=incoming.body.model if incoming.route.echoes_model else None,
                memory=means.memory,
                limit_bytes=means.answer_bytes if _keeps(incoming) else 0,
                clock=means.monotonic,
                began=self._began,
            )
            await hold(held, strip_usage=made.injected, bound=means.answer_bytes)
        except UpstreamError as error:
            raw.error = error.kind
            raw.broke = raw.first_token_ms is not None
            self._outcome = IGNORED if isinstance(error, CallRefused) else FAILURE
            serving.failed_replica = error.replica
            raise
        finally:
            self._known_at = means.monotonic()
            serving.upstream_s += self._known_at - self._began
        self._outcome = _outcome_of(held)
        if held.fault is not None:
            serving.failed_replica = reply.replica
        return held

    async def relayed(self, held: Held, client: Client) -> None:
        """Send the answer to its end, or to where it broke off."""
        incoming, serving, raw = self._incoming, self._serving, self.raw
        since_s = self._known_at - incoming.began
        overhead_s = max(0.0, since_s - serving.upstream_s)
        serving.status = held.status
        serving.served = raw.arm
        serving.overhead_ms = overhead_s * 1000
        self._means.metrics.head(incoming.route.state.name, raw.arm, since_s, overhead_s)
        head = head_of(held, _ours(incoming, serving, raw.arm))
        fault = held.fault
        judged, self._outcome = self._outcome, IGNORED
        try:
            await relay(held, client, head, self._target.deadlines.total_s + GRACE_S)
        except asyncio.CancelledError:
            if client.cutting:
                break_off(held, client, SHUTDOWN)
                serving.truncated = True
            raise
        self._outcome = FAILURE if raw.broke else judged
        serving.truncated = raw.broke
        serving.cause = raw.error or fault


def _keeps(incoming: Incoming) -> bool:
    """Whether answers are read once more when they have ended: for a record, or for a budget."""
    if incoming.route.captured and incoming.policy.log != "off":
        return True
    return incoming.quota is not None and incoming.quota.counts_usage


class Made(msgspec.Struct, frozen=True):
    """A call ready to be sent. `injected`: usage is asked for that the client did not ask for. `asked` is the body before the
    upstream's field policy, None where that changed nothing."""

    call: Call
    injected: bool
    left_out: tuple[str, ...]
    asked: bytes | None


def call_to(means: Means, incoming: Incoming, target: Target, purpose: str, avoid: str | None = None) -> Made:
    """The request as `target` gets it. Raises CallRefused where its upstream's field policy does."""
    body, endpoint, beside = incoming.body, incoming.endpoint, purpose in _BESIDE
    fields = body.fields.copy() if target.model is None else with_model(body, target.model)
    if beside and given(fields, "store"):
        fields.pop("store")
        fields.pop("metadata", None)
    counted = body.stream and incoming.route.usage_injected and endpoint.form.ending is _DONE
    injected = counted and inject_usage(fields)
    left_out: tuple[str, ...] = ()
    asked = None
    if target.fields.concerns(fields):
        asked = encode_fields(fields)
        done = target.fields.apply(fields)
        left_out = tuple(field for field, _ in done)
        for field, rule in done:
            means.metrics.field(target.upstream, field, rule)
    untouched = target.model is None and not (injected or left_out or beside)
    own = [(b"x-request-id", _id_of(means, incoming, target, purpose)), *incoming.own]
    if target.account_is_clients:
        own += incoming.head.account
    if beside:  # a call of its own, to be made whatever became of the client's
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
        (b"x-tutelage-overhead-ms", b"%.2f" % (serving.overhead_ms or 0.0)),
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
