"""What the gate of a route sees: for the admin plane, `explain` and the operator's promote.

Computed from what the store holds, by the functions that decide: a standby shows the same as the active process.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from router.rollout import Rollout, candidate
from router.types import Direction
from scoring.gates import controller
from scoring.gates.facts import Facts
from scoring.gates.fresh import MIN_KEYS, fresh
from scoring.gates.futility import futility
from scoring.gates.harm import roll_back, step_down, warm
from scoring.gates.holds import missing
from scoring.gates.metrics import promotion_prior
from scoring.gates.numbers import with_bounds
from scoring.gates.order import order_effect
from scoring.gates.verdict import Finding
from scoring.gates.view import View
from scoring.gates.view import look as view_of
from tutelage.contracts.decisions import Decision, Epoch
from tutelage.contracts.errors import UnknownName
from tutelage.contracts.records import Json
from tutelage.contracts.signals import Signals
from tutelage.contracts.snapshot import Snapshot
from tutelage.control.remaining import PairUsd, pair_usd_of, remaining
from tutelage.control.units import JUDGE_DEADLINE_S
from tutelage.store.base import QueueDepth, Store

LOSSES = (
    "gateway_died",
    "shutdown",
    "client_gone",
    "exchange_lost",
    "request_lost",
    "teacher_lost",
    "too_large",
    "redaction_failed",
    "truncated",
)
"""Reasons of the join that could hide bad answers. The others say nothing of the student."""
Lost = Mapping[Direction, Mapping[str, int]]
"""What no pair could be made of, by direction and reason."""
HISTORY_READ = 1_000
OVERDUE = "overdue"
"""Counted as missing until it comes: the other half of an exchange that has been waited for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a gate: what it reads, and what follows; `beside` is the same of a successor. `pair_usd` is what
    one more pair costs. `signals` are what control saw of the machinery, `held` the decision of each standing hold.
    """

    view: View
    ruling: controller.Ruling
    proven: bool
    pair_usd: PairUsd = field(default_factory=dict)
    beside: "Look | None" = None
    signals: Signals | None = None
    held: Mapping[str, Decision] = field(default_factory=dict)


def facts_of(depth: QueueDepth, lost: Lost, now: float, signals: Signals) -> Facts:
    """What the queue and the machinery say. `lost` is what no pair could be made of since this evidence began."""
    oldest = depth.oldest_admitted_at
    late_s = 0.0 if oldest is None else max(0.0, now - oldest - JUDGE_DEADLINE_S)
    return Facts(
        teacher_open=signals.alarm("teacher") is not None,
        judge_late_s=late_s,
        judge_drift=signals.alarm("judge"),
        capture_lossy=signals.alarm("capture"),
        sample_ratio=signals.alarm("split"),
        missing={
            direction: _missing(lost.get(direction, {}), signals.overdue.get(direction, 0)) for direction in Direction
        },
    )


def lost_of(store: Store, rollout: Rollout) -> Lost:
    """What no pair could be made of since the evidence of `rollout` began."""
    return store.losses(rollout.route, rollout.epoch, rollout.since.evidence)


def _missing(lost: Mapping[str, int], overdue: int) -> Mapping[str, int]:
    return {name: lost[name] for name in LOSSES if name in lost} | ({OVERDUE: overdue} if overdue else {})


def look(store: Store, snapshot: Snapshot, name: str, now: float) -> Look:
    """One look at route `name`. Raises UnknownName where it has no student."""
    rollout = store.rollout(name)
    epoch = snapshot.epochs.get(name)
    if rollout is None or epoch is None:
        raise UnknownName(f"route {name!r} has no student: there is no gate")
    depth = store.depth(name)
    signals = store.signals(name) or Signals(at=now)
    facts = facts_of(depth, lost_of(store, rollout), now, signals)
    pair_usd = pair_usd_of(store.spending(name), depth.scored)
    heir, its = candidate(rollout), snapshot.successors.get(name)
    beside = None
    if heir is not None and its is not None:
        its_facts = facts_of(depth, lost_of(store, heir), now, signals)
        beside = replace(_look(store, heir, its, its_facts, now), pair_usd=pair_usd)
    seen = _look(store, rollout, epoch, facts, now)
    return replace(seen, beside=beside, pair_usd=pair_usd, signals=signals, held=held_since(store, rollout))


def _look(store: Store, rollout: Rollout, epoch: Epoch, facts: Facts, now: float) -> Look:
    state = state_of(store, rollout, epoch)
    return Look(
        view=view_of(state, rollout, epoch, facts, now),
        ruling=controller.decide(state, rollout, epoch, facts, now),
        proven=controller.proven(state, rollout, epoch),
    )


def state_of(store: Store, rollout: Rollout, epoch: Epoch) -> controller.State:
    """What the store holds of this student: under its own name, or still under that of a successor that it was.

    A student of which it holds nothing begins where the one before it stands: no label is read from before.
    """
    bodies = (store.gate_state(rollout.route), store.successor_state(rollout.route))
    kept = [controller.decode(body) for body in bodies if body is not None]
    before = kept[0] if kept else controller.initial(rollout, epoch)
    own = (state for state in kept if state.epoch == epoch.id)
    return next(own, None) or controller.caught_up(before, rollout, epoch)


def document(seen: Look) -> Json:
    """The look as the admin plane shows it. Numbers that do not exist, infinity included, are null."""
    view, ruling = seen.view, seen.ruling
    rollout, evidence = view.rollout, view.state.overall.evidence
    alarms = (warm(view), step_down(view), roll_back(view))
    seen_cells = with_bounds(view)
    quality = seen_cells[0]
    following = min(rollout.rung + 1, rollout.ladder.top)
    return {
        "route": rollout.route,
        "student": rollout.student,
        "epoch": rollout.epoch,
        "attempt": rollout.attempt,
        "revision": rollout.revision,
        "phase": rollout.phase,
        "rung": rollout.rung,
        "next_rung": following,
        "next_share_bp": rollout.ladder.share_bp(following),
        "margin": view.epoch.delta,
        "cells": [_finite(msgspec.to_builtins(numbers)) for numbers in seen_cells],
        "fresh": _fresh(view),
        "detectors": {name: _number(value) for name, value in view.detectors.items()},
        "detector_thresholds": {finding.gate: finding.need for finding in alarms},
        "labels": _labels(view),
        "order_effect": _order_effect(view),
        "signals": None if seen.signals is None else _signals(seen.signals),
        "holds": [
            {"hold": name, "at": row.at, "actor": row.actor, "reason": row.reason} for name, row in seen.held.items()
        ],
        "futility": _shown(futility(view)),
        "lower_bound": quality.lower_bound if quality.n else None,
        "missing": {
            "by_class": evidence.missing_by_class() | _of_both(view.facts.missing),
            "words": missing(view).words,
        },
        "distinct_keys": evidence.distinct_keys,
        **remaining(view, seen.pair_usd),
        "proven": seen.proven,
        "blockers": list(ruling.blockers),
        "reason": ruling.reason,
        "successor": None if seen.beside is None else _successor(seen.beside),
    }


def _of_both(lost: Lost) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for by_reason in lost.values():
        counts.update(by_reason)
    return dict(counts)


def _successor(seen: Look) -> Json:
    """A student that is measured beside the serving one: how far it is from taking over."""
    return {
        "student": seen.view.rollout.student,
        "epoch": seen.view.rollout.epoch,
        "cells": [_finite(msgspec.to_builtins(numbers)) for numbers in with_bounds(seen.view)],
        "labels": _labels(seen.view),
        **remaining(seen.view, seen.pair_usd),
        "reason": seen.ruling.reason,
    }


def _fresh(view: View) -> Json:
    key = view.state.fresh
    found = fresh(view)
    return {
        "direction": key.evidence.cell.direction,
        "n": key.evidence.units,
        "distinct_keys": key.evidence.distinct_keys,
        "distinct_keys_needed": MIN_KEYS,
        "log_e": _number(found.value),
        "threshold": found.need,
        "reached": key.reaches(found.need, promotion_prior(view.epoch)),
        "verdict": found.verdict,
    }


def held_since(store: Store, rollout: Rollout) -> dict[str, Decision]:
    """The decision with which each standing hold began, as far as the last thousand decisions tell."""
    begun: dict[str, Decision] = {}
    going = set(rollout.holds)
    for decision in store.history(rollout.route, HISTORY_READ):
        going &= set(decision.holds)
        begun |= dict.fromkeys(sorted(going), decision)
        if not going:
            break
    return begun


def _signals(signals: Signals) -> Json:
    watches = {name: msgspec.to_builtins(watch) for name, watch in signals.watches.items()}
    return {"at": signals.at, "watches": watches, "overdue": {str(name): n for name, n in signals.overdue.items()}}


def _order_effect(view: View) -> Json:
    order = view.state.order
    found = order_effect(order)
    return {
        "n": order.n,
        "mean": None if order.mean is None else _number(order.mean),
        "value": _number(found.value),
        "threshold": found.need,
        "verdict": found.verdict,
        "words": found.words,
    }


def _labels(view: View) -> Json:
    """What people have said: null where they are not asked. `awaited` is the drawn pair at which the count stands."""
    if view.epoch.gates.label_bp is None:
        return None
    labels = view.state.labels
    awaited = None if labels.awaited is None else msgspec.to_builtins(labels.awaited)
    return {"n": labels.n, "not_in_time": labels.late, "mean_d": labels.mean, "awaited": awaited}


def _shown(finding: Finding) -> Json:
    return {"log_e": _number(finding.value), "threshold": finding.need, "verdict": finding.verdict}


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _finite(plain: Json) -> Json:
    return {name: _number(value) if isinstance(value, float) else value for name, value in plain.items()}
