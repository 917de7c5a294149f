"""The breaker of one upstream: whether a call may be made now, judged by how the last ones went.

    CLOSED     calls go through. Too many consecutive failures, or too large a part of the recent calls, open it.
    OPEN       no calls until the back-off is over; then the next one to ask is the probe.
    HALF_OPEN  one probe is under way and nobody else gets through. Its success closes the breaker, its failure opens it for
               twice as long; a probe that says nothing (the client hung up) leaves the place to the next.

`generation` rises with every change of state and every probe, and a permit carries the one it was given under: what a call
says that began before the last change comes too late and is ignored. Owns the arithmetic; the clock is an argument, seconds
of any monotonic clock. Must not know what a call is, which errors are failures, or that another arm exists: "the last
healthy one is never ejected" is its caller's rule. Every permit is settled exactly once.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import NamedTuple

from router.types import FAILURE, FULL_BP, SUCCESS, Outcome

_SLOTS = 10


class BreakerState(StrEnum):
    """See the module."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


_CLOSED = BreakerState.CLOSED


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a breaker opens and for how long. Raises ValueError where a bound makes no sense.

    It opens at `consecutive_failures`, or when at least `min_calls` calls ended within about `window_s` seconds and at least
    `failure_rate_bp` of them failed. The back-off doubles from `backoff_s` to `backoff_max_s` and starts again once closed.
    """

    consecutive_failures: int = 5
    window_s: float = 30.0
    min_calls: int = 20
    failure_rate_bp: int = 5_000
    backoff_s: float = 5.0
    backoff_max_s: float = 60.0

    def __post_init__(self) -> None:
        if self.consecutive_failures < 1 or self.min_calls < 1 or not 1 <= self.failure_rate_bp <= FULL_BP:
            raise ValueError(f"{self}: counts start at 1, the rate is 1 to {FULL_BP} basis points")
        if self.window_s <= 0 or not 0 < self.backoff_s <= self.backoff_max_s:
            raise ValueError(f"{self}: window and back-off are above 0, backoff_s is at most backoff_max_s")


class Permit(NamedTuple):
    """The right to one call."""

    generation: int


UNASKED = Permit(-1)
"""Of a call that is made without asking: what becomes of it says nothing, as if it came too late."""


class Breaker:
    """One upstream's breaker. Not for threads: the event loop that asks is the one that settles."""

    __slots__ = (
        "_backoff_s",
        "_consecutive",
        "_permit",
        "_policy",
        "_probe_is_out",
        "_recent",
        "_retry_at",
        "_state",
    )

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._state = BreakerState.CLOSED
        self._permit = Permit(0)
        """What every call of this generation gets."""
        self._consecutive = 0
        self._backoff_s = policy.backoff_s
        self._retry_at = 0.0
        self._probe_is_out = False
        self._recent = _Recent(policy.window_s / _SLOTS)

    @property
    def state(self) -> BreakerState:
        return self._state

    @property
    def generation(self) -> int:
        return self._permit.generation

    def available(self, now: float) -> bool:
        """Whether `acquire` would give a permit. Changes nothing."""
        if self._state is _CLOSED:
            return True
        return not self._probe_is_out and now >= self._retry_at

    def acquire(self, now: float) -> Permit | None:
        """The right to one call, or None. Out of OPEN and HALF_OPEN the permit is the probe's."""
        if self._state is _CLOSED:
            return self._permit
        if not self.available(now):
            return None
        self._state = BreakerState.HALF_OPEN
        self._probe_is_out = True
        self._next_generation()
        return self._permit

    def settle(self, permit: Permit, outcome: Outcome, now: float) -> bool:
        """What the call came to. Ignored where the breaker changed since the permit was given. True where this opens or closes
        it."""
        if permit != self._permit:
            return False
        before = self._state
        if self._probe_is_out:
            self._settle_probe(outcome, now)
        elif outcome is SUCCESS:
            self._consecutive = 0
            self._recent.count(now, 0)
        elif outcome is FAILURE:
            self._consecutive += 1
            self._recent.count(now, 1)
            if self._fails():
                self._open(now, self._policy.backoff_s)
        return self._state is not before

    def _fails(self) -> bool:
        policy, recent = self._policy, self._recent
        if self._consecutive >= policy.consecutive_failures:
            return True
        return recent.calls >= policy.min_calls and recent.failures * FULL_BP >= policy.failure_rate_bp * recent.calls

    def _settle_probe(self, outcome: Outcome, now: float) -> None:
        if outcome is SUCCESS:
            self._change(BreakerState.CLOSED)
        elif outcome is FAILURE:
            self._open(now, min(2 * self._backoff_s, self._policy.backoff_max_s))
        else:
            self._change(BreakerState.HALF_OPEN)

    def _open(self, now: float, backoff_s: float) -> None:
        self._backoff_s = backoff_s
        self._retry_at = now + backoff_s
        self._change(BreakerState.OPEN)

    def _change(self, state: BreakerState) -> None:
        """Enter `state` with a clean sheet: permits given before say nothing any more."""
        self._state = state
        self._next_generation()
        self._probe_is_out = False
        self._consecutive = 0
        self._recent.clear()

    def _next_generation(self) -> None:
        self._permit = Permit(self._permit.generation + 1)


class _Recent:
    """Calls and failures of the last `_SLOTS` slots of time."""

    __slots__ = ("_slot_s", "_slots", "_turns_at", "calls", "failures")

    def __init__(self, slot_s: float) -> None:
        self._slot_s = slot_s
        self._slots: deque[list[int]] = deque()  # [slot, calls, failures], at most _SLOTS of them
        self._turns_at = -inf
        """When the last slot ends."""
        self.calls = 0
        self.failures = 0

    def count(self, now: float, failed: int) -> None:
        if now >= self._turns_at:
            self._turn(int(now // self._slot_s))
        last = self._slots[-1]
        last[1] += 1
        self.calls += 1
        if failed:
            last[2] += failed
            self.failures += failed

    def clear(self) -> None:
        self._slots.clear()
        self._turns_at = -inf
        self.calls = self.failures = 0

    def _turn(self, slot: int) -> None:
        """Begin `slot`, and forget those that are over for long enough."""
        slots = self._slots
        self._turns_at = (slot + 1) * self._slot_s
        if not slots or slots[-1][0] != slot:
            slots.append([slot, 0, 0])
        while slots[0][0] <= slot - _SLOTS:
            _, calls, failures = slots.popleft()
            self.calls -= calls
            self.failures -= failures
