"""The loop: one tick after the other, each safe to be the last.

    lease   who has it is active; who has not stands by and does nothing else
    publish configuration into rollouts and snapshot: when the lease is taken
    join    spools into pairs
    gates   per route: fold what is ready, decide, apply
    keep    sampling rates, retention: now and then

Owns the order and the lease. Everything it remembers is a cache of the store: after any fault it forgets and reads
again.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from router.rollout import candidate
from router.types import FULL_BP, UnitOf
from scoring.economics import statement_of
from scoring.rubrics.scorer import Scorer
from tutelage.contracts.errors import LeaseLost
from tutelage.contracts.routes import RouteSettings
from tutelage.contracts.settings import Settings
from tutelage.contracts.snapshot import Snapshot
from tutelage.control.conclude import JoinRoute
from tutelage.control.health import Health
from tutelage.control.metrics import Metrics
from tutelage.control.snapshot import Publisher
from tutelage.control.tail import Tail
from tutelage.store.base import Lease, Store

log = structlog.get_logger()

LEASE = "control"
LEASE_S = 3.0
RENEW_S = 2.0
"""A lease with less than this left is renewed."""
TICK_S = 0.2
AFTER_FAILURE_S = 1.0
"""Before a tick that failed is begun afresh: a full disk fails every one."""
SLOWLY_S = 1.0
"""How often what changes slowly is looked at: queues, a training time that ends."""
_BATCHES_AT_MOST = 8
_PATIENCE_S = 60.0
"""Beyond the upstream's own deadline: the time that a record may spend in a gateway's queue."""


class Keeper(Protocol):
    """Folds and decides for one route at a time."""

    def tend(self, snapshot: Snapshot, lease: Lease, route: str, now: float) -> bool:
        """Fold what is ready, decide, apply; True where more is ready at once."""

    def forget(self) -> None:
        """Drop what is remembered of the store."""


class Chore(Protocol):
    """Something to do now and then."""

    def do(self, snapshot: Snapshot, lease: Lease, now: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a loop is built of. `judge_rates(now)`: the part of each route's pairs that is judged, in basis points; `scorers`
    are rubrics by name."""

    store: Store
    settings: Settings
    publisher: Publisher
    tail: Tail
    keeper: Keeper
    health: Health
    metrics: Metrics
    judge_rates: Callable[[float], Mapping[str, int]] = lambda now: {}
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    chores: tuple[Chore, ...] = ()


class Loop:
    """`holder` names this process in the lease; `clock` gives UTC seconds."""

    def __init__(self, parts: Parts, holder: str, clock: Callable[[], float]) -> None:
        self._parts = parts
        self._holder = holder
        self._clock = clock
        self._lease: Lease | None = None
        self._snapshot: Snapshot | None = None
        self._slow_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set. A tick that fails is logged and counted, and the next one begins afresh."""
        metrics = self._parts.metrics
        while not stop.is_set():
            pause_s = TICK_S
            with metrics.tick_seconds.time():
                try:
                    pause_s = 0.0 if self.tick() else TICK_S
                    metrics.ticks.labels("standby" if self._lease is None else "active").inc()
                except Exception:
                    log.exception("a tick of the control loop failed; it begins afresh")
                    metrics.ticks.labels("failed").inc()
                    self.forget()
                    pause_s = AFTER_FAILURE_S
            stop.wait(pause_s)
        self.release()

    def tick(self) -> bool:
        """One tick; True where more work is ready at once."""
        now = self._clock()
        lease = self._hold(now)
        if lease is None:
            return False
        snapshot = self._read()
        try:
            more = self._join(snapshot, now)
            for route in snapshot.rollouts:
                if route in self._parts.settings.routes:
                    more |= self._parts.keeper.tend(snapshot, lease, route, self._clock())
            if now >= self._slow_at:
                self._slow_at = now + SLOWLY_S
                self._slowly(snapshot, lease, now)
        except LeaseLost:
            log.warning("another control process has taken over; standing by")
            self.forget()
            return False
        return more

    def forget(self) -> None:
        """Drop everything remembered: the next tick takes over as if it were the first."""
        self._lease = None
        self._snapshot = None
        self._parts.tail.forget()
        self._parts.keeper.forget()

    def release(self) -> None:
        """Give the lease back, so that a standby need not wait for it."""
        if self._lease is not None:
            self._parts.store.release(self._lease)
            self.forget()

    # --- the steps ----------------------------------------------------------------------------------------------------

    def _hold(self, now: float) -> Lease | None:
        """The lease, taken or renewed. Whoever takes it anew publishes first and trusts nothing remembered."""
        if self._lease is not None and now < self._lease.expires_at - RENEW_S:
            return self._lease
        lease = self._parts.store.acquire(LEASE, self._holder, LEASE_S, now)
        if lease is None or self._lease is None or lease.token != self._lease.token:
            self.forget()
            if lease is not None:
                self._parts.publisher.publish(self._parts.store, lease, now)
                log.info("active", holder=self._holder, token=lease.token)
        self._lease = lease
        self._parts.metrics.active.set(0 if lease is None else 1)
        return lease

    def _read(self) -> Snapshot:
        """The snapshot in force, read again only where something was committed."""
        store = self._parts.store
        if self._snapshot is None or store.sequence() != self._snapshot.sequence:
            self._snapshot = store.snapshot()
        if self._snapshot is None:
            raise RuntimeError("the store has no snapshot though it was published")
        return self._snapshot

    def _join(self, snapshot: Snapshot, now: float) -> bool:
        routes = join_routes(self._parts.settings, snapshot, self._parts.judge_rates(now), self._parts.scorers)
        for _ in range(_BATCHES_AT_MOST):
            joined = self._parts.tail.read(routes, now)
            self._parts.metrics.saw_joined(joined)
            if not self._parts.tail.behind:
                return False
        return True

    def _slowly(self, snapshot: Snapshot, lease: Lease, now: float) -> None:
        metrics, store = self._parts.metrics, self._parts.store
        self._parts.health.look(now)
        metrics.halves.set(self._parts.tail.waiting)
        metrics.unreadable.set(self._parts.tail.unreadable)
        metrics.lost.set(self._parts.tail.lost)
        for name, rollout in snapshot.rollouts.items():
            metrics.saw_rollout(rollout)
            metrics.saw_spending(name, statement_of(store.spending(name)))
            if name in self._parts.settings.routes and self._parts.publisher.behind(rollout):
                self._parts.publisher.settle(store, lease, name, now)
        for chore in self._parts.chores:
            chore.do(snapshot, lease, now)


def join_routes(
    settings: Settings, snapshot: Snapshot, judge_rates: Mapping[str, int], scorers: Mapping[str, Scorer]
) -> Mapping[str, JoinRoute]:
    """What the join must know of each route with a rollout. `judge_rates` in basis points, by route; else all pairs."""
    training_use = {name: upstream.training_use for name, upstream in settings.upstreams.items()}
    routes = {}
    for name, route in settings.routes.items():
        rollout, epoch = snapshot.rollouts.get(name), snapshot.epochs.get(name)
        scorer = None if route.rubric is None else scorers.get(route.rubric)
        if rollout is not None and epoch is not None:
            serving = JoinRoute(
                rollout=rollout,
                epoch=epoch,
                unit=UnitOf(route.unit),
                judge_bp=judge_rates.get(name, FULL_BP),
                patience_s=patience_s(settings, route),
                reader=None if scorer is None else scorer.alone,
                training_use=training_use,
            )
            heir, its = candidate(rollout), snapshot.successors.get(name)
            beside = None if heir is None or its is None else replace(serving, rollout=heir, epoch=its)
            routes[name] = replace(serving, successor=beside)
    return routes


def patience_s(settings: Settings, route: RouteSettings) -> float:
    """How long after serving the other arm's answer may still come."""
    arms = [name for name in (route.teacher, route.student) if name is not None]
    return max(settings.upstreams[name].deadlines.total for name in arms) + _PATIENCE_S
