"""Shadow calls: the other arm's answer to a request that has been served, asked off its path.

A *slot* is reserved at admission, blind to content: no slot means not sampled. Once reserved, whatever happens ends in
exactly one `RawShadow` per call in the spool, an attempt or the reason why there is none, so that no sampled pair goes missing
silently. The calls run as background tasks: they can neither delay nor fail a request.

Must not know of routes' plans, of HTTP, or of what a call asks: the dispatcher hands the calls over ready to be sent.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gateway.memory import Memory
from gateway.upstreams.base import Call, CallRefused, Reply, Upstream, UpstreamError
from router.breaker import Permit
from router.types import Arm, Outcome
from tutelage.capture.raw import RawAttempt, RawPolicy, RawShadow
from tutelage.tasks import Tasks


class Gate(Protocol):
    """The upstream's breaker. `now` is of the monotonic clock."""

    def admit(self, now: float, /) -> Permit | None:
        """The right to a call; None while it is open."""

    def settle(self, permit: Permit, outcome: Outcome, now: float, /) -> None:
        """What the call came to. Once for each permit."""


class Sink(Protocol):
    """Where ended shadow calls go: the spool."""

    def offer(self, raw: RawShadow, /) -> None:
        """Never blocks, never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowCall:
    """One call to be made. `purpose` is "shadow", or "rescore" where the served arm is asked again because its client hung
    up. `asked` is the body to be recorded where it is not the call's: what its upstream's field policy left out (`left_out`)
    stands in it."""

    arm: Arm
    upstream: Upstream
    gate: Gate
    version: str
    purpose: str
    call: Call
    asked: bytes | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowJob:
    """What one sampled exchange asks for when its serving has ended. The bodies of `calls` are sent, and recorded, as they
    are; `stream` says in which form their answers come."""

    exchange_id: str
    route: str
    endpoint: str
    stream: bool
    policy: RawPolicy
    calls: tuple[ShadowCall, ...]


class ShadowPool:
    """At most `limit` sampled exchanges between admission and the end of their shadow calls.

    `answer_bytes` bounds one kept answer, `memory` all of them: beyond either the call is closed and the attempt marked
    `overflow`. `utc` and `monotonic` are clocks in seconds, `new_id` names records. For one event loop; not for threads.
    """

    def __init__(
        self,
        *,
        limit: int,
        spool: Sink,
        answer_bytes: int,
        memory: Memory,
        utc: Callable[[], float],
        monotonic: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._limit = limit
        self._spool = spool
        self._answer_bytes = answer_bytes
        self._memory = memory
        self._utc = utc
        self._monotonic = monotonic
        self._new_id = new_id
        self._tasks = Tasks()
        self._taken = 0
        self._closing = False

    @property
    def taken(self) -> int:
        """Slots in use."""
        return self._taken

    @property
    def running(self) -> int:
        """Calls under way."""
        return len(self._tasks)

    def reserve(self) -> "Slot | None":
        """A slot, or None when all are taken or the pool is draining: then the request is not sampled (`shed`)."""
        if self._closing or self._taken >= self._limit:
            return None
        self._taken += 1
        return Slot(self)

    async def drain(self, deadline_s: float) -> int:
        """No new slots; wait for the calls under way, cut what is left (`lost="shutdown"`); returns how many were cut.

        To be called when serving has ended: a job that starts afterwards is recorded as lost at once.
        """
        self._closing = True
        return await self._tasks.drain(deadline_s)

    def start(self, job: ShadowJob, slot: "Slot") -> None:
        """For `Slot.start`."""
        open_calls = len(job.calls)
        if open_calls == 0:
            self.give_back()

        def ended(call: ShadowCall, attempt: RawAttempt, task: "asyncio.Task[None]") -> None:
            nonlocal open_calls
            self._memory.taken_bytes -= len(call.call.body) + sum(map(len, attempt.chunks))
            self._record(job, call, attempt, task)
            open_calls -= 1
            if open_calls == 0:
                self.give_back()

        for call in job.calls:
            self._memory.taken_bytes += len(call.call.body)
            attempt = RawAttempt(
                arm=call.arm,
                upstream=call.upstream.name,
                version=call.version,
                purpose=call.purpose,
                started=self._utc(),
                left_out=call.left_out,
            )
            task = self._tasks.start(self._ask(call, attempt), f"shadow {job.exchange_id} {call.upstream.name}")
            task.add_done_callback(partial(ended, call, attempt))

    def give_back(self) -> None:
        """For `Slot`."""
        self._taken -= 1

    def _record(self, job: ShadowJob, call: ShadowCall, attempt: RawAttempt, task: "asyncio.Task[None]") -> None:
        """Runs when a call's task has ended, also where it was cancelled before it ran: hence exactly one record per call."""
        if not task.cancelled() and task.exception() is not None:
            attempt.error = "internal"
        self._spool.offer(
            RawShadow(
                id=self._new_id(),
                exchange_id=job.exchange_id,
                route=job.route,
                endpoint=job.endpoint,
                stream=job.stream,
                body=call.call.body if call.asked is None else call.asked,
                policy=job.policy,
                ended_at=self._utc(),
                attempt=None if task.cancelled() else attempt,
                lost="shutdown" if task.cancelled() else None,
            )
        )

    async def _ask(self, call: ShadowCall, attempt: RawAttempt) -> None:
        """Make one call and fill `attempt`; every error of the upstream ends here. The permit is settled once."""
        began = self._monotonic()
        permit = call.gate.admit(began)
        if permit is None:
            attempt.error = "breaker_open"
            return
        outcome = Outcome.IGNORED  # what a cancelled call says of its upstream
        try:
            reply = await call.upstream.open(call.call)
            try:
                await self._read(reply, attempt, began)
            finally:
                await reply.aclose()
            outcome = _outcome(reply.status)
        except UpstreamError as error:
            attempt.error = error.kind
            attempt.broke = attempt.first_token_ms is not None
            outcome = Outcome.IGNORED if isinstance(error, CallRefused) else Outcome.FAILURE
        finally:
            ended = self._monotonic()
            attempt.total_ms = (ended - began) * 1000
            call.gate.settle(permit, outcome, ended)

    async def _read(self, reply: Reply, attempt: RawAttempt, began: float) -> None:
        attempt.status = reply.status
        attempt.headers = reply.headers
        kept = 0
        async with _closing(reply.chunks()) as chunks:
            async for chunk in chunks:
                if attempt.first_token_ms is None:
                    attempt.first_token_ms = (self._monotonic() - began) * 1000
                kept += len(chunk)
                self._memory.taken_bytes += len(chunk)
                if kept > self._answer_bytes or self._memory.full:
                    self._memory.taken_bytes -= kept
                    attempt.overflow = True
                    attempt.chunks.clear()
                    return
                attempt.chunks.append(chunk)


class Slot:
    """The right to one sampled exchange's shadow calls. Either started or released, once; what comes later does nothing."""

    __slots__ = ("_pool", "_used")

    def __init__(self, pool: ShadowPool) -> None:
        self._pool = pool
        self._used = False

    def start(self, job: ShadowJob) -> None:
        """Make the job's calls in the background. Returns at once; the slot is free again when the last call has ended."""
        if not self._used:
            self._used = True
            self._pool.start(job, self)

    def release(self) -> None:
        """Give the slot back unused."""
        if not self._used:
            self._used = True
            self._pool.give_back()


def _outcome(status: int) -> Outcome:
    """A 4xx is about the request and a 429 about our rate: neither says that the upstream is ill."""
    return Outcome.FAILURE if status >= 500 else Outcome.IGNORED if status >= 400 else Outcome.SUCCESS


@asynccontextmanager
async def _closing(chunks: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Close a generator here and now, not when it happens to be collected."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
