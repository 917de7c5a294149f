"""What the gate of a route sees: for the admin plane, `explain` and the operator's promote.

Computed from what the store holds, by the functions that decide: a standby shows the same as the active process.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from router.rollout import Rollout
from scoring.gates import controller
from scoring.gates.facts import Facts
from tutelage.contracts.errors import UnknownName
from tutelage.contracts.records import Epoch
from tutelage.contracts.snapshot import Snapshot
from tutelage.store.base import QueueDepth, Store

JUDGE_DEADLINE_S = 900.0
"""A pair that waits longer for its score holds the rollout."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a gate."""

    rollout: Rollout
    epoch: Epoch
    ruling: controller.Ruling
    facts: Facts


def facts_of(depth: QueueDepth, now: float, before: Mapping[str, int] | None = None) -> Facts:
    """What the queue says of the machinery. `before` are the losses counted before this evidence began."""
    oldest = depth.oldest_admitted_at
    late_s = 0.0 if oldest is None else max(0.0, now - oldest - JUDGE_DEADLINE_S)
    earlier = before or {}
    lost = {name: depth.by_exclusion[name] - earlier.get(name, 0) for name in LOSSES if name in depth.by_exclusion}
    return Facts(judge_late_s=late_s, missing={name: count for name, count in lost.items() if count > 0})


def losses(depth: QueueDepth) -> dict[str, int]:
    """The losses counted so far."""
    return {name: depth.by_exclusion[name] for name in LOSSES if name in depth.by_exclusion}


def look(store: Store, snapshot: Snapshot, name: str, now: float) -> Look:
    """One look at route `name`. Raises UnknownName where it has no student."""
    rollout = store.rollout(name)
    epoch = snapshot.epochs.get(name)
    if rollout is None or epoch is None:
        raise UnknownName(f"route {name!r} has no student: there is no gate")
    body = store.gate_state(name)
    state = controller.initial(rollout, epoch) if body is None else controller.decode(body)
    facts = facts_of(store.depth(name), now)
    return Look(rollout=rollout, epoch=epoch, facts=facts, ruling=controller.decide(state, rollout, epoch, facts, now))
