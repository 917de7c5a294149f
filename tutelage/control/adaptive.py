"""Adaptive sampling, now and then and at every stage entry: what has passed is watched, the rest is sampled with what that
saves.

Owns when the plan is looked at and put in force. Must not know how it is made: `scoring.gates.adaptive`.
"""

from dataclasses import replace

import structlog

from scoring.gates.adaptive import plan
from tutelage.contracts.settings import Settings
from tutelage.contracts.snapshot import Snapshot
from tutelage.control import gates
from tutelage.store.base import Lease, Store

log = structlog.get_logger()

EVERY_S = 60.0
"""Every change is a policy version, and only within one are weights known: not too many of them."""


class AdaptiveSampling:
    """`rollout.gates.adaptive`: a change of what has passed is another policy version."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._due_at: dict[str, float] = {}
        self._stages: dict[str, int] = {}

    def do(self, snapshot: Snapshot, lease: Lease, now: float) -> None:
        for name, rollout in snapshot.rollouts.items():
            epoch = snapshot.epochs.get(name)
            if epoch is None or epoch.gates.adaptive is None or name not in self._settings.routes:
                continue
            stage = rollout.since.fresh
            if now >= self._due_at.get(name, 0.0) or stage != self._stages.get(name):
                self._due_at[name], self._stages[name] = now + EVERY_S, stage
                self._look(snapshot, name, now)

    def _look(self, snapshot: Snapshot, name: str, now: float) -> None:
        route, current = self._settings.routes[name], snapshot.samplings.get(name)
        if current is None or route.rollout is None or current.forward_bp == 0:
            return
        watch_bp = route.rollout.gates.watch
        view = gates.look(self._store, snapshot, name, now).view
        rates = plan(view, budget_bp=route.shadow.student, watch_bp=watch_bp)
        if rates.watched == current.watched and (rates.watched or rates.forward_bp == current.forward_bp):
            return
        policy = replace(
            current,
            forward_bp=rates.forward_bp,
            slice=view.epoch.gates.adaptive or "",
            watched=rates.watched,
            watch_bp=watch_bp if rates.watched else 0,
            version=current.version + 1,
        )
        self._store.set_sampling(name, policy)
        log.info("sampling follows what has passed", route=name, watched=rates.watched, forward_bp=rates.forward_bp)
