"""The life of one request: plan, permit, open, fallback, relay, settle.

    serve(incoming, client)
      plan          router.policy.plan_route: who serves, who may take over, who is asked beside it; a shadow slot is reserved
      try each arm  one permit, one call; the head is held until the first event; what a retry can cure is asked once more
      relay         bytes to the client; nothing is retried any more
      finally       metrics · the exchange to the spool · the shadow calls start, or their slot is given back

Every permit is settled once, whatever happens. A client that hangs up says nothing of an upstream. A sampled exchange is
accounted for: its shadow call is made, and where its client hung up the served arm is asked again (`rescore`); where a fallback
has asked the shadow's arm already, a record says so instead of a second call.

Must not know of HTTP parsing (`gateway.api`), sockets, or the store. To add an endpoint: a file in `gateway/api`.
"""

import asyncio
from datetime import UTC, datetime
from functools import lru_cache

import structlog

from gateway.attempt import FALLBACK, RESCORE, RETRY, SERVE, SHADOW, Attempt, Means, call_to
from gateway.client import GONE, SHUTDOWN, Client, Interrupted
from gateway.errors import NO_RETRY, BadRequest, Draining, Refusal, UpstreamFailed
from gateway.exchange import Incoming, Serving
from gateway.lanes import Lane
from gateway.metrics import NONE
from gateway.outcomes import CANCELLED, OK, class_of, clients_fault, outcome_of
from gateway.relay import Held
from gateway.retry import wait_before_retry
from gateway.routing import Target
from gateway.shadow import ShadowCall, ShadowJob, Slot
from gateway.upstreams.base import CallRefused, UpstreamError
from router.policy import plan_route
from router.types import STUDENT, TEACHER, Arm, Ask, RoutePlan
from tutelage.capture.raw import RawAttempt, RawExchange, RawShadow

log = structlog.get_logger()

DAY_S = 86_400
ANSWERED = "answered_in_fallback"


class Dispatcher:
    """Serves requests with the means of one process."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def serve(self, incoming: Incoming, client: Client) -> None:
        """Answer the request. Raises the Refusal that the client must be told where nothing was sent yet."""
        serving = self._planned(incoming)
        plan = serving.plan
        try:
            with client:
                if plan.fallback is None:
                    await self._last(incoming, serving, client, plan.serve, SERVE)
                elif (fault := await self._first(incoming, serving, client)) is not None:
                    self._means.metrics.fallback(incoming.route.name, fault)
                    await self._last(incoming, serving, client, plan.fallback, FALLBACK)
        except Interrupted as interrupted:
            serving.client_gone = interrupted.why == GONE
            serving.cut = interrupted.why == SHUTDOWN
            if serving.cut and not client.started:
                raise Draining from None
        except Refusal as refusal:
            serving.refusal = refusal
            raise
        finally:
            client.held_bytes += serving.held_bytes
            self._ended(incoming, serving, client)

    # --- before -------------------------------------------------------------------------------------------------------

    def _planned(self, incoming: Incoming) -> Serving:
        """The plan, and the slot of its shadow. No slot: not sampled."""
        means, state, now = self._means, incoming.route.state, incoming.began
        student = state.student
        ask = Ask(  # in the order of its fields, as in the policy
            incoming.id,
            incoming.sticky_key,
            _day(int(incoming.admitted_at // DAY_S)),
            incoming.needs,
            incoming.pinned,
            incoming.policy.log == "full",
            incoming.slices,
        )
        plan = plan_route(
            state,
            ask,
            teacher_available=means.lanes[state.teacher].available(now),
            student_available=student is not None and means.lanes[student].available(now),
        )
        means.metrics.reasons(state.name, plan.reasons)
        slot = None
        if plan.shadow is not None:
            slot = None if means.shedding() else means.shadows.reserve()
            if slot is None:
                plan = _unsampled(plan)
                means.metrics.shed(state.name)
        return Serving(plan=plan, slot=slot)

    # --- serving ------------------------------------------------------------------------------------------------------

    async def _first(self, incoming: Incoming, serving: Serving, client: Client) -> str | None:
        """Ask the planned arm; the fault for which its fallback takes over, or None where it answered."""
        means, arm = self._means, serving.plan.serve
        lane, now = means.lanes[incoming.route.target(arm).upstream], means.monotonic()
        lane.planned(now)
        permit, purpose, fault = lane.admit(now), SERVE, "breaker_open"
        while permit is not None:
            attempt = Attempt(means, incoming, serving, arm, purpose, lane, permit, now)
            try:
                held = await attempt.held()
            except UpstreamError as error:
                fault = error.kind
            else:
                if held.fault is None or (arm is TEACHER and clients_fault(held.status)):
                    await attempt.relayed(held, client)
                    return None
                fault = held.fault
            finally:
                await attempt.close()
            wait_s = self._wait_before_retry(incoming, serving, lane, attempt.raw)
            if wait_s is None:
                break
            serving.upstream_s += wait_s
            await asyncio.sleep(wait_s)
            now = means.monotonic()
            permit, purpose = lane.admit(now), RETRY
        return fault

    async def _last(self, incoming: Incoming, serving: Serving, client: Client, arm: Arm, purpose: str) -> None:
        """Ask the arm after which there is no other; what it says is what the client gets."""
        means = self._means
        lane, now = means.lanes[incoming.route.target(arm).upstream], means.monotonic()
        lane.planned(now)
        while True:
            attempt = Attempt(means, incoming, serving, arm, purpose, lane, lane.call(now), now)
            try:
                held = await attempt.held()
            except CallRefused as refused:
                raise BadRequest(refused.detail, code="unsupported_parameter") from refused
            except UpstreamError as error:
                wait_s = self._wait_before_retry(incoming, serving, lane, attempt.raw)
                if wait_s is None:
                    raise _failed(error, serving) from error
            else:
                wait_s = self._wait_before_retry(incoming, serving, lane, attempt.raw)
                if wait_s is None:
                    _require_answer(held)
                    await attempt.relayed(held, client)
                    return
            finally:
                await attempt.close()
            serving.upstream_s += wait_s
            await asyncio.sleep(wait_s)
            now, purpose = means.monotonic(), RETRY

    def _wait_before_retry(self, incoming: Incoming, serving: Serving, lane: Lane, failed: RawAttempt) -> float | None:
        """How long to wait before the same arm is asked once more; None where that would cure nothing or is not allowed."""
        if failed.error is None or failed.purpose == RETRY or incoming.endpoint.opaque:
            return None
        if not lane.available(self._means.monotonic()):
            return None
        wait_s = wait_before_retry(failed, self._means.draw())
        if wait_s is None:
            return None
        if not lane.may_retry():
            serving.out_of_retries = True  # nor should the client's SDK try what we must not
            return None
        self._means.metrics.retry(lane.name, failed.error)
        return wait_s

    # --- after --------------------------------------------------------------------------------------------------------

    def _ended(self, incoming: Incoming, serving: Serving, client: Client) -> None:
        """Count, hand over to capture, see to the shadow. Never raises into the request."""
        if not client.ended and not serving.client_gone and serving.refusal is None and client.started:
            serving.truncated = True
        total_ms = (self._means.monotonic() - incoming.began) * 1000
        outcome, cause = outcome_of(serving)
        route = incoming.route
        self._means.metrics.request(route.name, serving.served or NONE, class_of(serving), total_ms / 1000)
        if serving.truncated:
            self._means.metrics.truncated(route.name, cause or OK)
        if cause is not None and outcome != CANCELLED:
            log.info("request ended badly", request=incoming.id, route=route.name, outcome=outcome, cause=cause)
        if incoming.quota is not None:
            incoming.quota.settle(serving.attempts, serving.served)
        if route.captured:
            self._means.spool.offer(self._exchange(incoming, serving, outcome, cause, total_ms))
        if serving.slot is not None:
            self._shadow(incoming, serving, serving.slot)

    def _exchange(
        self, incoming: Incoming, serving: Serving, outcome: str, cause: str | None, total_ms: float
    ) -> RawExchange:
        state, routing = incoming.route.state, incoming.routing
        return RawExchange(
            id=incoming.id,
            generation=routing.generation,
            snapshot=routing.sequence,
            digest=routing.digest,
            route=state.name,
            tenant=incoming.key.tenant,
            key_id=incoming.key.id,
            endpoint=incoming.endpoint.name,
            stream=incoming.body.stream,
            body=incoming.body.raw,
            sticky_source=incoming.sticky_source,
            sticky_key=incoming.sticky_key,
            salt=state.salt,
            revision=state.revision,
            epoch=incoming.route.epoch,
            plan=serving.plan,
            slices=incoming.slices,
            policy=incoming.policy,
            admitted_at=incoming.admitted_at,
            attempts=serving.attempts,
            served_arm=serving.served,
            outcome=outcome,
            cause=cause,
            successor=self._beside(incoming, serving),
            client_gone=serving.client_gone,
            truncated=serving.truncated,
            ended_ms=total_ms,
            overhead_ms=serving.overhead_ms,
        )

    def _shadow(self, incoming: Incoming, serving: Serving, slot: Slot) -> None:
        """Start what a sampled exchange owes."""
        arm = serving.plan.shadow
        calls: list[ShadowCall] = []
        if arm is not None:
            if not serving.client_gone and any(attempt.arm is arm for attempt in serving.attempts):
                self._means.spool.offer(self._without_call(incoming, attempt=None, lost=ANSWERED))
            else:
                calls += self._shadow_call(incoming, arm, incoming.route.target(arm), SHADOW)
        if incoming.route.successor is not None and self._beside(incoming, serving) is not None:
            calls += self._shadow_call(incoming, STUDENT, incoming.route.successor, SHADOW)
        if serving.client_gone:
            asked = serving.served or serving.asked or serving.plan.serve
            calls += self._shadow_call(incoming, asked, incoming.route.target(asked), RESCORE)
        slot.start(
            ShadowJob(
                exchange_id=incoming.id,
                route=incoming.route.name,
                endpoint=incoming.endpoint.name,
                stream=incoming.body.stream,
                policy=incoming.policy,
                calls=tuple(calls),
            )
        )

    @staticmethod
    def _beside(incoming: Incoming, serving: Serving) -> str | None:
        """The successor that is asked as well: wherever the student is sampled beside the teacher."""
        plan, heir = serving.plan, incoming.route.successor
        if heir is None or plan.shadow is not STUDENT or plan.assigned is not TEACHER:
            return None
        return f"{heir.upstream}@{heir.version}"

    def _shadow_call(self, incoming: Incoming, arm: Arm, target: Target, purpose: str) -> tuple[ShadowCall, ...]:
        """The call; none, and a record that says so, where the target's field policy refuses the request."""
        lane = self._means.lanes[target.upstream]
        try:
            made = call_to(self._means, incoming, target, purpose)
        except CallRefused as refused:
            attempt = RawAttempt(
                arm=arm,
                upstream=lane.name,
                version=target.version,
                purpose=purpose,
                started=self._means.utc(),
                error=refused.kind,
            )
            self._means.spool.offer(self._without_call(incoming, attempt=attempt, lost=None))
            return ()
        return (
            ShadowCall(
                arm=arm,
                upstream=lane.upstream,
                gate=lane,
                version=target.version,
                purpose=purpose,
                call=made.call,
                asked=made.asked or made.call.body,
                left_out=made.left_out,
            ),
        )

    def _without_call(self, incoming: Incoming, attempt: RawAttempt | None, lost: str | None) -> RawShadow:
        return RawShadow(
            id=self._means.new_id(),
            exchange_id=incoming.id,
            route=incoming.route.name,
            endpoint=incoming.endpoint.name,
            stream=incoming.body.stream,
            body=incoming.body.raw,
            policy=incoming.policy,
            ended_at=self._means.utc(),
            attempt=attempt,
            lost=lost,
        )


def _failed(error: UpstreamError, serving: Serving) -> UpstreamFailed:
    failed = UpstreamFailed(error.status, error.kind)
    if serving.out_of_retries:
        failed.headers = NO_RETRY
    return failed


def _require_answer(held: Held) -> None:
    """What the last arm said is relayed, but for what is no answer at all: a redirect, an empty stream."""
    redirected = 300 <= held.status < 400 and held.fault is not None
    if redirected or (held.scanner is not None and held.complete and not held.scanner.events):
        raise UpstreamFailed(502, held.fault or "truncated")


@lru_cache(maxsize=4)
def _day(number: int) -> str:
    """The UTC day, counted from 1970, as the policy names it."""
    return datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()


def _unsampled(plan: RoutePlan) -> RoutePlan:
    """The plan of a request that got no slot."""
    return plan._replace(shadow=None)
