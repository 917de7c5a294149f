"""What control does now and then: the rate of teacher shadows, their daily budget, retention.

Each chore knows when it is due by itself. Must not know the gate: rates follow traffic and budget, never scores.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from router.types import FULL_BP, Direction, Sampling
from tutelage.contracts.errors import StoreUnavailable
from tutelage.contracts.records import ShadowAttempt, Spooled
from tutelage.contracts.settings import Settings
from tutelage.contracts.snapshot import Snapshot
from tutelage.control import snapshot as publication
from tutelage.control.metrics import Metrics
from tutelage.store.base import Lease, Store
from tutelage.store.spool import purge, purge_feedback, spools

log = structlog.get_logger()

RATE_EVERY_S = 600.0
WINDOW_S = 3600.0
"""Over how long student traffic is estimated."""
DAY_S = 86_400.0
CHANGE = 1.25
"""A rate is changed only where it is off by this factor: every change is a policy version."""
RETENTION_EVERY_S = 3600.0


class TeacherRate:
    """`shadow.teacher: auto`: min(1, pairs per day / student requests of a day), from the last hour's traffic."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._due_at: float | None = None

    def do(self, snapshot: Snapshot, lease: Lease, now: float) -> None:
        if self._due_at is None:
            self._due_at = now + RATE_EVERY_S
        if now < self._due_at:
            return
        self._due_at = now + RATE_EVERY_S
        for name, route in self._settings.routes.items():
            current = snapshot.samplings.get(name)
            if route.shadow.teacher != "auto" or current is None or current.reverse_bp == 0:
                continue
            sampled = self._store.traffic(name, Direction.REVERSE, now - WINDOW_S)
            per_day = sampled / (current.reverse_bp / FULL_BP) * DAY_S / WINDOW_S
            rate = publication.reverse_bp(route.shadow, per_day)
            if abs(math.log(rate / current.reverse_bp)) < math.log(CHANGE):
                continue
            policy = publication.sampling(route.shadow, current, rate, str)
            if policy is not None:
                self._store.set_sampling(name, policy)
                log.info("teacher shadows at another rate", route=name, rate_bp=rate, student_per_day=round(per_day))


class ShadowBudget:
    """`shadow.max_usd_per_day`: when a route's shadow calls of a UTC day have cost that much, none is drawn until
    the next.

    Spend is counted from what this process has read: who takes over in the middle of a day begins at nothing. What
    a call costs must be known (a price in the upstream's `cost` or in the price table), else it counts as nothing.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._caps = {
            name: round(route.shadow.max_usd_per_day * 1e9)
            for name, route in settings.routes.items()
            if route.shadow.max_usd_per_day is not None
        }
        self._settings = settings
        self._day = 0
        self._spent_nusd: dict[str, int] = {}
        self._stopped: dict[str, int] = {}

    def saw(self, record: Spooled) -> None:
        """Count a shadow call."""
        if isinstance(record, ShadowAttempt) and record.route in self._caps and record.attempt is not None:
            self._begin(int(record.ended_at // DAY_S))
            if int(record.ended_at // DAY_S) == self._day:
                before = self._spent_nusd.get(record.route, 0)
                self._spent_nusd[record.route] = before + (record.attempt.cost_nusd or 0)

    def do(self, snapshot: Snapshot, lease: Lease, now: float) -> None:
        self._begin(int(now // DAY_S))
        for name, cap in self._caps.items():
            current, spent = snapshot.samplings.get(name), self._spent_nusd.get(name, 0)
            if current is None:
                continue
            if spent >= cap and name not in self._stopped:
                self._stopped[name] = current.reverse_bp
                self._put(name, current, 0, 0)
                log.warning("shadow budget of the day is spent", route=name, usd=round(spent / 1e9, 2))
            elif spent < cap and name in self._stopped:
                self._put(name, current, self._settings.routes[name].shadow.student, self._stopped.pop(name))

    def _begin(self, day: int) -> None:
        if day > self._day:
            self._day = day
            self._spent_nusd.clear()

    def _put(self, name: str, current: Sampling, student_bp: int, teacher_bp: int) -> None:
        rates = self._settings.routes[name].shadow.model_copy(update={"student": student_bp})
        policy = publication.sampling(rates, current, teacher_bp, str)
        if policy is not None:
            self._store.set_sampling(name, policy)


class Retention:
    """Hourly: pairs and spooled records older than their route's `capture.retention_days` are deleted."""

    def __init__(self, store: Store, settings: Settings, metrics: Metrics, data_dir: Path) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._data_dir = data_dir
        self._due_at = 0.0

    def do(self, snapshot: Snapshot, lease: Lease, now: float) -> None:
        if now < self._due_at:
            return
        self._due_at = now + RETENTION_EVERY_S
        positions = self._store.positions()
        self._feedback(now, positions)
        for name, route in self._settings.routes.items():
            before = now - route.capture.retention_days * DAY_S
            self._metrics.purged.labels(name, "pairs").inc(self._store.purge(name, before))
            for gateway, path in spools(self._data_dir).items():
                try:
                    deleted = purge(path, name, before, positions.get(gateway, 0))
                except StoreUnavailable as fault:
                    log.warning("a spool cannot be purged now", gateway=gateway, fault=str(fault))
                    continue
                self._metrics.purged.labels(name, "spooled").inc(deleted)

    def _feedback(self, now: float, positions: Mapping[str, int]) -> None:
        """What spools hold of it names no route and is in the store by now: the shortest retention of all decides."""
        days = min((route.capture.retention_days for route in self._settings.routes.values()), default=0)
        for gateway, path in spools(self._data_dir).items():
            with suppress(StoreUnavailable):  # said where its route's rows are purged
                purge_feedback(path, now - days * DAY_S, positions.get(gateway, 0))
