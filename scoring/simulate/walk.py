"""One rollout, unit by unit: fold, decide, step, as control does it.

Owns   the plainest use of the gate there is. Slow: some ten thousand units a second; a thousand rollouts go through
       `runs`, which must tell the same stories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from router.rollout import Phase, Rollout, step
from router.types import Direction
from scoring.gates.controller import decide, fold, initial
from scoring.gates.facts import ALL_WELL, Facts
from scoring.gates.state import State
from scoring.simulate.plan import Plan, epoch_of, rollout_of
from scoring.simulate.story import Story
from tutelage.contracts.decisions import Unit


def in_no_slice(at: int) -> dict[str, str]:
    """Every unit belongs to the whole alone."""
    return {}


def walk(
    plan: Plan,
    pairs: Iterable[tuple[Direction, int]],
    facts: Facts = ALL_WELL,
    slices_at: Callable[[int], dict[str, str]] = in_no_slice,
) -> tuple[Story, State]:
    """The story of one rollout that sees `pairs`, each (direction, d in thousandths) of another user. `slices_at` says which
    slices the n-th of them, from 1, belongs to."""
    epoch, story = epoch_of(plan), Story(rollout=rollout_of(plan))
    state = initial(story.rollout, epoch, plan.wiring)
    for at, (direction, d_milli) in enumerate(pairs, 1):
        unit = unit_of(at, direction, d_milli, story.rollout, slices_at(at))
        state = fold(state, unit, story.rollout, epoch)
        while story.rollout.phase is not Phase.ROLLED_BACK:
            ruling = decide(state, story.rollout, epoch, facts, float(at))
            if ruling.event is None:
                break
            after, _ = step(story.rollout, ruling.event)
            story.enter(ruling.event, after, at, state.overall.evidence.units)
    return story, state


def unit_of(
    at: int, direction: Direction, d_milli: int, rollout: Rollout, slices: dict[str, str] | None = None
) -> Unit:
    """The unit of one simulated pair, admitted under the rollout's present revision."""
    return Unit(
        id=f"unit-{at}",
        route=rollout.route,
        epoch=rollout.epoch,
        direction=direction,
        revision=rollout.revision,
        key=f"user-{at}",
        d=d_milli / 1000,
        first_at=float(at),
        last_at=float(at),
        slices=slices or {},
    )
