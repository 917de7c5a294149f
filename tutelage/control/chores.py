"""What control does now and then: the rate of teacher shadows, retention.

Each chore knows when it is due by itself. Must not know the gate: rates follow traffic and budget, never scores.
"""

import math
from pathlib import Path

import structlog

from router.types import FULL_BP, Direction
from tutelage.contracts.errors import StoreUnavailable
from tutelage.contracts.settings import Settings
from tutelage.contracts.snapshot import Snapshot
from tutelage.control import snapshot as publication
from tutelage.control.metrics import Metrics
from tutelage.store.base import Lease, Store
from tutelage.store.spool import purge, spools

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
