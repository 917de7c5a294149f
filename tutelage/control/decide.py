"""The gatekeeper: folds what is ready of a route, looks at its gate, applies what follows.

Owns the route's gate state between two ticks (a cache of the store's), how often the gate is looked at, and what is
worth a row in the history. Must not know statistics: `scoring.gates.controller` decides.

What keeps it honest: units are folded before anything is decided, under the rollout as it stands in the store; a
fold and its state are one transaction; an event names the revision that it was decided on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import msgspec
import structlog

from router.rollout import Effect, IllegalTransition, Rollout, candidate
from scoring.evidence import OUTCOME
from scoring.gates import controller
from scoring.gates.facts import ALL_WELL, Facts
from scoring.gates.numbers import cells
from scoring.gates.order import order_effect
from scoring.gates.verdict import Verdict
from scoring.gates.view import look as view_of
from tutelage.contracts.decisions import CellNumbers, Epoch
from tutelage.contracts.errors import LeaseLost, StaleRevision
from tutelage.contracts.settings import Settings
from tutelage.contracts.signals import Watch
from tutelage.contracts.snapshot import Snapshot
from tutelage.control.gates import facts_of, lost_of, state_of
from tutelage.control.health import Health
from tutelage.control.labels import fold_of, labelled
from tutelage.control.metrics import Metrics
from tutelage.control.refusals import REFUSAL, kind_of, refusal
from tutelage.control.serving import SERVINGS_AT_ONCE, SERVINGS_EVERY_S, quiet_s, units_of
from tutelage.control.succession import Beside, succession
from tutelage.control.units import UNIT_S, Cut, Cutter
from tutelage.store import apply as writes
from tutelage.store.base import Fold, Lease, Store

log = structlog.get_logger()

UNITS_PER_LOOK = 100
LOOKS_PER_TICK = 10
EVENTS_PER_LOOK = 8
"""A hold that goes, another that comes, an advance: more than this at one look would be a loop."""
FACTS_EVERY_S = 1.0
CELLS_EVERY_S = 1.0
REFUSALS_READ = 100


@dataclass(slots=True)
class _Memory:
    """What is remembered of a route between two looks."""

    state: controller.State
    counted_until: float
    """When the newest unit was that has been counted, as far as is known."""
    beside: controller.State | None = None
    facts: Facts = ALL_WELL
    facts_beside: Facts = ALL_WELL
    facts_at: float = float("-inf")
    cells_at: float = float("-inf")
    looked_at: float = float("-inf")
    served_at: float = float("-inf")
    revision: int = 0
    refused: set[str] = field(default_factory=set)
    refused_at: int = 0
    folds: int = 0

    def basis(self, seen: tuple[CellNumbers, ...], detectors: Mapping[str, float], facts: Facts) -> writes.Basis:
        """What is decided now is decided on."""
        known = msgspec.to_builtins(facts)
        return writes.Basis(cells=seen, detectors=detectors, facts=known, folds=self.folds)


class Gatekeeper:
    """`new_id` names decisions by their time."""

    def __init__(
        self, store: Store, settings: Settings, metrics: Metrics, new_id: Callable[[float], str], health: Health
    ) -> None:
        self._store = store
        self._health = health
        self._settings = settings
        self._metrics = metrics
        self._new_id = new_id
        self._cutter = Cutter(store, UNITS_PER_LOOK)
        self._routes: dict[str, _Memory] = {}

    def forget(self) -> None:
        """The next look begins with what the store holds."""
        self._routes.clear()

    def tend(self, snapshot: Snapshot, lease: Lease, route: str, now: float) -> bool:
        """Fold what is ready and look after every hundred units; True where more is ready at once."""
        for _ in range(LOOKS_PER_TICK):
            rollout, epoch = self._store.rollout(route), snapshot.epochs.get(route)
            if rollout is None or epoch is None or rollout.epoch != epoch.id:
                return False
            memory = self._remembered(rollout, epoch, now)
            self._refresh(memory, rollout, now)
            heir, its = candidate(rollout), snapshot.successors.get(route)
            beside = None if heir is None or its is None or heir.epoch != its.id else Beside(rollout=heir, epoch=its)
            memory.beside = self._beside(memory, beside)
            cut = self._cutter.cut(epoch, now, self._settings.routes[route].slices.analysis)
            self._fold(memory, cut, rollout, epoch, lease=lease, beside=beside)
            self._fold_labels(memory, rollout, epoch, lease=lease, beside=beside, now=now)
            self._fold_servings(memory, rollout, epoch, lease, now)
            more = max(len(cut.orders), len(cut.watched) + len(cut.passed)) >= UNITS_PER_LOOK
            # Later units may wait: no score chose them. Those from before what has been counted came late.
            memory.facts = replace(memory.facts, uncounted=more and cut.until < memory.counted_until)
            memory.counted_until = max(memory.counted_until, cut.until)
            if not self._succeeds(memory, rollout, beside, lease, now):
                self._look(memory, rollout, epoch, lease, now)
            if not more:
                return False
        return True

    def _remembered(self, rollout: Rollout, epoch: Epoch, now: float) -> _Memory:
        memory = self._routes.get(rollout.route)
        if memory is None:
            state = state_of(self._store, rollout, epoch)
            memory = _Memory(
                state=state,
                refused=self._refusals(rollout),
                refused_at=rollout.revision,
                folds=self._store.folds(rollout.route),
                counted_until=now,
            )
            self._routes[rollout.route] = memory
        if memory.beside is not None and memory.beside.epoch == rollout.epoch:
            memory.state, memory.beside = memory.beside, None  # it has taken over
        return memory

    def _beside(self, memory: _Memory, beside: Beside | None) -> controller.State | None:
        return None if beside is None else memory.beside or state_of(self._store, beside.rollout, beside.epoch)

    def _refusals(self, rollout: Rollout) -> set[str]:
        """What has been recorded of this revision already."""
        decisions = self._store.history(rollout.route, REFUSALS_READ)
        return {kind_of(d.reason) for d in decisions if d.event == REFUSAL and d.revision_to == rollout.revision}

    def _fold(
        self, memory: _Memory, cut: Cut, rollout: Rollout, epoch: Epoch, *, lease: Lease, beside: Beside | None
    ) -> None:
        """States and marks in one transaction."""
        if not cut.orders and not cut.watched and not cut.passed:
            return
        state = controller.fold_all(memory.state, cut.units, rollout, epoch, cut.turns)
        heir = None
        if beside is not None and memory.beside is not None:
            heir = controller.fold_all(memory.beside, cut.units, beside.rollout, beside.epoch, cut.turns)
        fold = Fold(
            route=rollout.route,
            folded=cut.orders,
            watched=cut.watched,
            passed=tuple(turn.order for turn in cut.passed),
            gate_state=controller.encode(state),
            lease=lease,
            successor_state=None if heir is None else controller.encode(heir),
            revision=rollout.revision,
        )
        self._keep(memory, fold, state)
        memory.beside = heir
        self._metrics.folded.labels(rollout.route).inc(len(cut.units))
        if cut.no_reference:
            self._metrics.excluded.labels(rollout.route, "no_reference").inc(cut.no_reference)

    def _fold_labels(
        self, memory: _Memory, rollout: Rollout, epoch: Epoch, *, lease: Lease, beside: Beside | None, now: float
    ) -> None:
        """What people have said of each student's pairs that were folded since; its state remembers up to where."""
        state = labelled(self._store, memory.state, rollout, epoch, now)
        if state is not None:
            self._keep(memory, fold_of(state, rollout, lease, state=state), state)
        if beside is None or memory.beside is None:
            return
        heir = labelled(self._store, memory.beside, beside.rollout, beside.epoch, now)
        if heir is not None:
            self._keep(memory, fold_of(heir, rollout, lease, state=memory.state, heir=heir), memory.state)
            memory.beside = heir

    def _fold_servings(self, memory: _Memory, rollout: Rollout, epoch: Epoch, lease: Lease, now: float) -> None:
        """How requests of all traffic were served, now and then: up to what people may still say something of."""
        if OUTCOME not in epoch.gates.guardrails or now < memory.served_at + SERVINGS_EVERY_S:
            return
        memory.served_at = now
        since = now - quiet_s(epoch)
        found = self._store.servings(rollout.route, since, since - UNIT_S, SERVINGS_AT_ONCE)
        if not found:
            return
        state = controller.fold_servings(memory.state, units_of(found, epoch), rollout, epoch)
        fold = Fold(
            route=rollout.route,
            folded=(),
            gate_state=controller.encode(state),
            lease=lease,
            revision=rollout.revision,
            served=tuple(one.order for one in found),
        )
        self._keep(memory, fold, state)

    def _keep(self, memory: _Memory, fold: Fold, state: controller.State) -> None:
        """The state in memory follows only where the store took it. Raises LeaseLost where it did not."""
        if not self._store.fold(fold):
            raise LeaseLost(f"route {fold.route!r}: another control process has folded these")
        memory.state = state
        memory.folds += 1
        memory.looked_at = float("-inf")

    # --- a successor ---------------------------------------------------------------------------------------------------

    def _succeeds(self, memory: _Memory, rollout: Rollout, beside: Beside | None, lease: Lease, now: float) -> bool:
        """Let the successor take over where its evidence allows it, dismiss it where it cannot; True where it moved."""
        if beside is None or memory.beside is None or controller.at_rest(rollout) is not None:
            return False
        facts = replace(memory.facts_beside, uncounted=memory.facts.uncounted)
        ruling = controller.decide(memory.beside, beside.rollout, beside.epoch, facts, now)
        event = succession(ruling.event, now)
        if event is None:
            return False
        moved = self._apply(memory, rollout, replace(ruling, event=event), lease, facts)
        if moved is not None and moved.epoch == rollout.epoch:
            memory.beside = None  # it was sent away
        return moved is not None

    # --- looking ------------------------------------------------------------------------------------------------------

    def _look(self, memory: _Memory, rollout: Rollout, epoch: Epoch, lease: Lease, now: float) -> None:
        """Decide and apply until nothing follows. Without news the gate is looked at once a second: dwell and
        deadlines.
        """
        if rollout.revision == memory.revision and now < memory.looked_at + FACTS_EVERY_S:
            return
        memory.looked_at = now
        for _ in range(EVENTS_PER_LOOK):
            ruling = controller.decide(memory.state, rollout, epoch, memory.facts, now)
            memory.revision = rollout.revision
            self._show(memory, rollout, epoch, ruling, now)
            if ruling.event is None:
                self._refuse(memory, rollout, epoch, ruling, now=now)
                return
            moved = self._apply(memory, rollout, ruling, lease, memory.facts)
            if moved is None:
                return
            rollout = moved

    def _apply(
        self, memory: _Memory, rollout: Rollout, ruling: controller.Ruling, lease: Lease, facts: Facts
    ) -> Rollout | None:
        """The rollout after the event; None where somebody else moved it first, or where it does not apply."""
        event = ruling.event
        if event is None:
            return None
        try:
            applied = writes.apply(
                self._store,
                rollout.route,
                event,
                expected_revision=rollout.revision,
                new_id=self._new_id,
                lease=lease,
                basis=memory.basis(ruling.cells, ruling.detectors, facts),
            )
        except StaleRevision:
            return None
        except IllegalTransition as fault:
            log.error("the gate asked for a move that does not apply", reason=str(fault))  # noqa: TRY400 - no crash
            return None
        decision = applied.decision
        self._metrics.saw_decision(decision)
        self._metrics.saw_rollout(applied.rollout)
        page = Effect.PAGE in applied.effects
        say = log.error if page else log.info
        say("rollout moved", route=rollout.route, event_name=decision.event, to_bp=decision.to_bp,
            phase=decision.phase_to, reason=decision.reason, page=page)  # fmt: skip
        return applied.rollout

    def _refuse(
        self, memory: _Memory, rollout: Rollout, epoch: Epoch, ruling: controller.Ruling, *, now: float
    ) -> None:
        """Record why nothing moves: each reason once per revision, however often its numbers change or it returns."""
        if memory.refused_at != rollout.revision:
            memory.refused, memory.refused_at = set(), rollout.revision
        kind = kind_of(ruling.reason)
        if kind in memory.refused:
            return
        memory.refused.add(kind)
        seen = cells(view_of(memory.state, rollout, epoch, memory.facts, now))
        decision = refusal(
            rollout, ruling.reason, memory.basis(seen, ruling.detectors, memory.facts), id=self._new_id(now), at=now
        )
        self._store.refuse(decision)
        self._metrics.saw_decision(decision)

    def _refresh(self, memory: _Memory, rollout: Rollout, now: float) -> None:
        """The facts, read before units are cut: what they do not call late is then counted, or waited for."""
        if now < memory.facts_at + FACTS_EVERY_S:
            return
        depth = self._store.depth(rollout.route)
        signals = self._health.of(rollout.route, now)
        memory.facts = facts_of(depth, lost_of(self._store, rollout), now, signals)
        if (heir := candidate(rollout)) is not None:
            memory.facts_beside = facts_of(depth, lost_of(self._store, heir), now, signals)
        memory.facts_at = now
        self._metrics.saw_queue(rollout.route, depth, now)

    def _show(self, memory: _Memory, rollout: Rollout, epoch: Epoch, ruling: controller.Ruling, now: float) -> None:
        if now >= memory.cells_at + CELLS_EVERY_S:
            memory.cells_at = now
            seen = cells(view_of(memory.state, rollout, epoch, memory.facts, now))
            self._metrics.saw_gate(rollout.route, seen, ruling.detectors)
            order = order_effect(memory.state.order)
            self._metrics.order.labels(rollout.route).set(order.value)
            if order.n:
                self._health.judged(rollout.route, Watch(words=order.words, alarm=order.verdict is Verdict.FAIL))
