"""The only way in which the state of a rollout changes: read, step, commit under compare-and-set.

Owns the decision and audit rows that every move leaves. Must not know who may do what (that is the admin plane's) nor
which moves are right (that is `router.rollout`'s and the gates'). A new kind of move is an event there; nothing changes
here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from router.events import Event
from router.rollout import Effect, Rollout, step
from tutelage import __version__
from tutelage.contracts.decisions import CellNumbers, Decision, Epoch
from tutelage.contracts.errors import StaleRevision, UnknownName
from tutelage.contracts.records import Json
from tutelage.store.base import Audit, Lease, RolloutChange, RolloutStore

TRIES = 16
"""How often an event without an expected revision is tried again after somebody else moved the rollout first."""
CREATED = "Create"


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What the gate decided on: its numbers, the shell's facts, and how many folds had been made by then."""

    cells: tuple[CellNumbers, ...] = ()
    detectors: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Json] = field(default_factory=dict)
    folds: int | None = None


SOMEBODY = Basis()
"""Of who decided it without the gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of an event: the rollout after it, what the shell must do besides, and the decision as stored."""

    rollout: Rollout
    effects: tuple[Effect, ...]
    decision: Decision


def apply(
    store: RolloutStore,
    route: str,
    event: Event,
    *,
    expected_revision: int | None,
    new_id: Callable[[float], str],
    lease: Lease | None = None,
    epoch: Epoch | None = None,
    basis: Basis = SOMEBODY,
) -> Applied:
    """Move `route` by `event` and commit it with its decision and audit row, all or nothing.

    Without `expected_revision` the event is meant whatever the state is, and is tried again where another writer came
    first. Raises UnknownName, StaleRevision, LeaseLost, `router.rollout.IllegalTransition` or StoreUnavailable; then
    nothing was changed.
    """
    tries = TRIES if expected_revision is None else 1
    while True:
        before = _read(store, route, expected_revision)
        after, effects = step(before, event)
        name, decision_id = type(event).__name__, new_id(event.at)
        decision = _decision(before, after, event, name, id=decision_id, basis=basis)
        change = RolloutChange(
            rollout=after,
            expected_revision=before.revision,
            decision=decision,
            audit=_audit(before, after, event, name),
            epoch=epoch,
            lease=lease,
        )
        try:
            store.commit(change)
            return Applied(rollout=after, effects=effects, decision=decision)
        except StaleRevision:
            tries -= 1
            if not tries:
                raise


def create(
    store: RolloutStore,
    rollout: Rollout,
    *,
    epoch: Epoch | None,
    actor: str,
    reason: str,
    at: float,
    new_id: Callable[[float], str],
    lease: Lease | None = None,
) -> Applied:
    """Commit the first state of a route's rollout. Raises StaleRevision where it has one already, LeaseLost or
    StoreUnavailable."""
    event = Event(at=at, actor=actor, reason=reason)
    decision = _decision(None, rollout, event, CREATED, id=new_id(at))
    audit = _audit(None, rollout, event, CREATED)
    store.commit(
        RolloutChange(rollout=rollout, expected_revision=0, decision=decision, audit=audit, epoch=epoch, lease=lease)
    )
    return Applied(rollout=rollout, effects=(), decision=decision)


def _read(store: RolloutStore, route: str, expected_revision: int | None) -> Rollout:
    rollout = store.rollout(route)
    if rollout is None:
        raise UnknownName(f"route {route!r} has no rollout; `tutelage status` lists those that have one")
    if expected_revision is not None and rollout.revision != expected_revision:
        raise StaleRevision(route, expected_revision, rollout.revision)
    return rollout


def _decision(
    before: Rollout | None,
    after: Rollout,
    event: Event,
    name: str,
    *,
    id: str,  # noqa: A002 - as the record calls it
    basis: Basis = SOMEBODY,
) -> Decision:
    return Decision(
        id=id,
        at=event.at,
        route=after.route,
        student=after.student,
        attempt=after.attempt,
        epoch=after.epoch,
        revision_from=0 if before is None else before.revision,
        revision_to=after.revision,
        phase_from=(after if before is None else before).phase.value,
        phase_to=after.phase.value,
        from_bp=0 if before is None else before.share_in_force_bp,
        to_bp=after.share_in_force_bp,
        event=name,
        actor=event.actor,
        reason=event.reason,
        cells=basis.cells,
        detectors=dict(basis.detectors),
        facts=dict(basis.facts),
        folds=basis.folds,
        holds=tuple(sorted(after.holds)),
        code_version=__version__,
    )


def _audit(before: Rollout | None, after: Rollout, event: Event, name: str) -> Audit:
    return Audit(
        at=event.at,
        actor=event.actor,
        action=name,
        subject=f"route {after.route}",
        reason=event.reason,
        before=None if before is None else in_words(before),
        after=in_words(after),
    )


def in_words(rollout: Rollout) -> str:
    """A rollout in a few words: `RAMPING at 5.00 %, rung 2, attempt 1, revision 7`."""
    killed = ", killed" if rollout.killed else ""
    held = f", held by {', '.join(sorted(rollout.holds))}" if rollout.holds else ""
    where = f"rung {rollout.rung}, attempt {rollout.attempt}, revision {rollout.revision}"
    heir = "" if rollout.successor is None else f", successor {rollout.successor.student}"
    return f"{rollout.phase} at {rollout.share_in_force_bp / 100:.2f} %, {where}{held}{killed}{heir}"
