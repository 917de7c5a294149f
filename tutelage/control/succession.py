"""A successor: what the moves of a student that is measured beside the serving one mean for the rollout. Pure.

Owns that translation. Must not know evidence: the candidate is decided by the same gate as every rollout, on a ladder whose
first live rung is where the serving student stands (`router.rollout.candidate`).
"""

from dataclasses import dataclass

from router.events import Advance, Dismiss, Event, Hold, RollBack, StepDown, Succeed
from router.rollout import FUTILITY, Rollout
from scoring.gates.controller import ACTOR
from tutelage.contracts.decisions import Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A successor as its own statistics see it."""

    rollout: Rollout
    epoch: Epoch


def succession(event: Event | None, now: float) -> Event | None:
    """What a move of the candidate means for the rollout: up is taking over; harm, or no hope, is being sent away."""
    match event:
        case Advance():
            return Succeed(at=now, actor=ACTOR, reason=event.reason)
        case RollBack() | StepDown():
            return Dismiss(at=now, actor=ACTOR, reason=event.reason)
        case Hold() if event.hold == FUTILITY:
            return Dismiss(at=now, actor=ACTOR, reason=event.reason)
        case _:
            return None
