"""Publishes what the loop sees of the machinery, so that whoever explains a rollout sees it too.

Owns when: every few seconds, and at once where an alarm comes or goes; that is logged and counted. Must not know what raises
an alarm (`tutelage.control.health`) or what it holds.
"""

import structlog

from tutelage.contracts.signals import Signals
from tutelage.contracts.snapshot import Snapshot
from tutelage.control.health import Health
from tutelage.control.metrics import Metrics
from tutelage.store.base import Lease, Store

log = structlog.get_logger()

EVERY_S = 5.0


class Signalling:
    """A chore. What was published before it began is written anew."""

    def __init__(self, store: Store, health: Health, metrics: Metrics) -> None:
        self._store = store
        self._health = health
        self._metrics = metrics
        self._published: dict[str, Signals] = {}
        self._due_at = 0.0

    def do(self, snapshot: Snapshot, lease: Lease, now: float) -> None:
        seen = {route: self._health.of(route, now) for route in snapshot.rollouts}
        turned = [route for route, signals in seen.items() if self._turned(route, signals)]
        if not turned and now < self._due_at:
            return
        self._store.put_signals(seen)
        self._published, self._due_at = seen, now + EVERY_S

    def _turned(self, route: str, signals: Signals) -> bool:
        """Whether an alarm came or went since the last publication."""
        before = self._published.get(route)
        raised = {} if before is None else before.alarms
        for name, watch in signals.watches.items():
            self._metrics.alarm.labels(route, name).set(watch.alarm)
            if watch.alarm and name not in raised:
                log.warning("alarm", route=route, watch=name, reason=watch.words)
        return before is None or raised.keys() != signals.alarms.keys()
