"""From what is declared to what the store holds: rollouts, epochs, sampling, and the published configuration.

Owns the order, which matters: rollouts first (a new student is at share 0 before any gateway learns of it), then
sampling, then the configuration. What is declared, and which event follows, is `tutelage.control.declaration`. Must not
know gates, spools or HTTP.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from router.rollout import Phase, Rollout
from router.types import FULL_BP, Sampling
from tutelage.contracts.errors import StaleRevision
from tutelage.contracts.routes import ShadowSettings
from tutelage.contracts.settings import Settings
from tutelage.contracts.snapshot import PublishedConfig
from tutelage.control.declaration import ACTOR, declared, digest, entered, first, next_event, version_of
from tutelage.store import apply as writes
from tutelage.store.base import Lease, Store

log = structlog.get_logger()

_MOVES_AT_MOST = 8
"""Events that one reading of the configuration may come to, per route. More would be a loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Identifiers and randomness: given by the composition root, by the tests' own."""

    new_id: Callable[[float], str]
    new_salt: Callable[[], str]


def published(settings: Settings, at: float) -> PublishedConfig:
    """The configuration as gateways read it; its digest is SHA-256 of its canonical JSON."""
    public = settings.public()
    return PublishedConfig(digest=digest(public), settings=public, published_at=at)


# --- sampling ---------------------------------------------------------------------------------------------------------


def reverse_bp(shadow: ShadowSettings, student_per_day: float | None) -> int:
    """The rate of teacher shadows: `auto` is min(1, pairs per day / student requests of a day), 100 % while unknown."""
    if shadow.teacher != "auto":
        return shadow.teacher
    if not student_per_day or student_per_day <= shadow.pairs_per_day:
        return FULL_BP
    return max(1, math.floor(FULL_BP * shadow.pairs_per_day / student_per_day))


def sampling(
    shadow: ShadowSettings, current: Sampling | None, teacher_bp: int, new_salt: Callable[[], str]
) -> Sampling | None:
    """The policy to put in force; None where `current` says the same. Another rate is another version, never the
    same.
    """
    rates = (shadow.student, teacher_bp, shadow.holdout)
    if current is not None and (current.forward_bp, current.reverse_bp, current.holdout_bp) == rates:
        return None
    return Sampling(
        forward_bp=rates[0],
        reverse_bp=rates[1],
        holdout_bp=rates[2],
        salt=new_salt() if current is None else current.salt,
        version=1 if current is None else current.version + 1,
    )


# --- writing ----------------------------------------------------------------------------------------------------------


class Publisher:
    """Brings the store to what `settings` declare. Safe to call again at any time: what stands already is left
    alone.
    """

    def __init__(self, settings: Settings, rubrics: Mapping[str, str], sources: Sources) -> None:
        self._settings = settings
        self._rubrics = rubrics
        self._sources = sources
        for name in settings.routes:
            declared(settings, name, rubrics, 0.0)  # faults of the configuration show at start, not in the loop

    def publish(self, store: Store, lease: Lease, at: float) -> None:
        """Rollouts, then sampling, then the configuration."""
        for name in self._settings.routes:
            self.settle(store, lease, name, at)
        self._sample(store)
        store.publish(published(self._settings, at))

    def settle(self, store: Store, lease: Lease, name: str, at: float) -> None:
        """Apply what is left between the route's rollout and its declaration. A stale read is read again."""
        for _ in range(_MOVES_AT_MOST):
            try:
                if not self._step(store, lease, name, at):
                    return
            except StaleRevision:
                continue
        log.error("configuration and rollout do not come together", route=name)

    def behind(self, rollout: Rollout) -> bool:
        """Whether the rollout knows another student than the configuration, or waits for its student's training."""
        student = self._settings.routes[rollout.route].student
        if student is None:
            return False
        known = (rollout.student, None if rollout.successor is None else rollout.successor.student, rollout.dismissed)
        return rollout.phase is Phase.PENDING or version_of(student, self._settings.upstreams[student]) not in known

    def _step(self, store: Store, lease: Lease, name: str, at: float) -> bool:
        rollout = store.rollout(name)
        wanted = declared(self._settings, name, self._rubrics, at, rollout)
        if wanted is None:
            return False
        if rollout is None:
            writes.create(
                store,
                first(wanted, self._sources.new_salt(), at),
                epoch=wanted.epoch,
                actor=ACTOR,
                reason="the route has a student",
                at=at,
                new_id=self._sources.new_id,
                lease=lease,
            )
            return True
        event = next_event(rollout, wanted, self._sources.new_salt, at)
        if event is None:
            return False
        writes.apply(
            store,
            name,
            event,
            expected_revision=rollout.revision,
            new_id=self._sources.new_id,
            lease=lease,
            epoch=entered(event, wanted),
        )
        log.info("configuration changed the rollout", route=name, event_name=type(event).__name__, reason=event.reason)
        return True

    def _sample(self, store: Store) -> None:
        snapshot = store.snapshot()
        for name, route in self._settings.routes.items():
            if route.student is None:
                continue
            current = None if snapshot is None else snapshot.samplings.get(name)
            kept = current.reverse_bp if current is not None and route.shadow.teacher == "auto" else 0
            rate = kept or reverse_bp(route.shadow, None)
            policy = sampling(route.shadow, current, rate, self._sources.new_salt)
            if policy is not None:
                store.set_sampling(name, policy)
