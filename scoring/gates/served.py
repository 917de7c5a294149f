"""How a request that may be in no pair enters the state: the comparison between arms, and its stream.

Owns   `fold_servings`. Knows not  evidence, the fresh key: what it folds says nothing of both arms' answers to one input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from router.rollout import Rollout
from scoring.evidence import OUTCOME
from scoring.gates import streams
from scoring.gates.caps import capped
from scoring.gates.fastlane import compared
from scoring.gates.slices import labels_of
from scoring.gates.state import State, caught_up
from tutelage.contracts.decisions import Epoch, Unit


def fold_servings(state: State, units: Sequence[Unit], rollout: Rollout, epoch: Epoch) -> State:
    """The state after units that say how requests of all traffic were served: of one key no more than of others."""
    state = caught_up(state, rollout, epoch)
    own = [unit for unit in units if unit.epoch == state.epoch]
    blocks, counting = capped(state.blocks, own, epoch.gates.max_units_per_key, of=OUTCOME)
    comparisons, watched = state.comparisons, list[tuple[Unit, tuple[str, ...]]]()
    for unit in counting:
        labels = labels_of(unit, epoch.gates, state.named, ()) if state.named else ()
        comparisons, observed = compared(comparisons, unit, " ".join(labels))
        watched += [] if observed is None else [(observed, ())]
    parts = streams.budget(epoch, state.named, state.wiring)
    return replace(
        state,
        comparisons=comparisons,
        blocks=blocks,
        streams=streams.watched(state.streams, watched, parts, state.since, epoch),
    )
