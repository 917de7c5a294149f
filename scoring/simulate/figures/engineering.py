"""What the machinery promises: the same evidence however it arrived, small, quick, and the same decision on replay."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import msgspec
import numpy as np

from router.rollout import Phase, step
from router.types import Direction
from scoring.evidence import Cell, Evidence, promotion_milli
from scoring.gates.controller import Ruling, Wiring, decide, decode, encode, fold, fold_all, initial
from scoring.gates.facts import ALL_WELL
from scoring.simulate.figures.scale import Figures, Scale
from scoring.simulate.plan import Plan, epoch_of, rollout_of
from scoring.simulate.rows import Figure, Reported, row
from scoring.simulate.streams import generator
from scoring.simulate.walk import unit_of
from scoring.stats import laws
from scoring.stats.bets import planning_prior
from scoring.stats.eprocess import log_e, log_e_of, log_increment
from scoring.stats.lattice import FULL_WEIGHT
from tutelage.contracts.decisions import Unit

SAME = 1e-9
UPDATE_US = 15.0
EVIDENCE_BYTES = 1_000.0
UNITS = 4_000
LEVELS_MILLI = tuple(round(1000 * step / 12) for step in range(-12, 13))
"""The 25 levels on which a cell's size is measured."""

SHARDS = 7
ENTERED = ("evidence", "fresh key", "detectors")
"""What one undirected unit is folded into."""

TIMINGS = 9
"""The quickest of so many: what the machine did beside it is no part of the figure."""


def same_evidence(scale: Scale) -> tuple[Figure, ...]:
    """|Δ log E| after merging shards, shuffling, serialising, and against units added one by one."""
    plan, units = _units(scale)
    prior = planning_prior(null_mean=-plan.delta, sigma0=plan.sigma0)
    cell = Cell(epoch="simulated", direction=Direction.FORWARD)
    whole = log_e_of(Evidence(cell=cell).add_all(units).promotion(), prior)
    order = generator(scale.seed, "shuffle").permutation(len(units))
    shuffled = [units[place] for place in order]
    merged = Evidence(cell=cell)
    for shard in range(SHARDS):
        merged = merged.merge(Evidence(cell=cell).add_all(shuffled[shard::SHARDS]))
    stored = msgspec.json.decode(msgspec.json.encode(merged.to_plain()))
    online = np.zeros_like(prior.weights)
    for unit in shuffled:
        online = online + log_increment(FULL_WEIGHT, promotion_milli(unit), -plan.delta)
    others = {
        "merged from shuffled shards": log_e_of(merged.promotion(), prior),
        "serialised and read": log_e_of(Evidence.from_plain(stored).promotion(), prior),
        "added up one by one": log_e(online, prior),
    }
    return tuple(row(f"difference of log E, {name}", abs(x - whole), SAME, error=0.0) for name, x in others.items())


def small_and_quick(scale: Scale) -> tuple[Figure, ...]:
    """Bytes of one cell's counts on 25 levels; microseconds to fold a unit, per cell that it enters, on one core."""
    plan, units = _units(scale)
    epoch, rollout = epoch_of(plan), rollout_of(plan)
    spread = [unit_of(at, Direction.FORWARD, LEVELS_MILLI[at % 25], rollout) for at in range(len(units))]
    evidence = Evidence(cell=Cell(epoch=epoch.id, direction=Direction.FORWARD)).add_all(spread)
    state = fold_all(initial(rollout, epoch, Wiring.UNDIRECTED), units, rollout, epoch)
    took_s = min(_seconds(lambda: fold_all(state, units, rollout, epoch)) for _ in range(TIMINGS))
    per_unit_us = 1e6 * took_s / len(units)
    return (
        row("bytes of a cell", float(len(msgspec.json.encode(evidence.to_plain()))), EVIDENCE_BYTES, error=0.0),
        row("µs per update and cell", per_unit_us / len(ENTERED), UPDATE_US, error=0.0),
        Reported(name="µs to fold one unit", value=per_unit_us, mc_error=0.0),
    )


def replay(scale: Scale) -> tuple[Figure, ...]:
    """Decisions of one rollout that differ, or whose log E does by more than 1e-9, when replayed from stored bytes."""
    plan, units = _units(scale)
    epoch, rollout = epoch_of(plan), rollout_of(plan)
    state = initial(rollout, epoch, Wiring.UNDIRECTED)
    differing = decisions = 0
    for unit in units:
        state = fold(state, msgspec.structs.replace(unit, revision=rollout.revision), rollout, epoch)
        while rollout.phase is not Phase.ROLLED_BACK:
            ruling = decide(state, rollout, epoch, ALL_WELL, unit.last_at)
            if ruling.event is None:
                break
            decisions += 1
            again = decide(decode(encode(state)), rollout, epoch, ALL_WELL, unit.last_at)
            differing += not _same(ruling, again)
            rollout, _ = step(rollout, ruling.event)
    return (
        row("decisions that differ on replay", float(differing), 0.0, error=0.0),
        Reported(name="decisions replayed", value=float(decisions), mc_error=0.0),
    )


def _same(ruling: Ruling, again: Ruling) -> bool:
    close = [
        math.isclose(a.log_e, b.log_e, rel_tol=0.0, abs_tol=SAME)
        for a, b in zip(ruling.cells, again.cells, strict=True)
    ]
    return ruling.event == again.event and all(close)


def _units(scale: Scale) -> tuple[Plan, list[Unit]]:
    """Units of a student that is equal at first and then falls: they make every kind of decision."""
    plan = Plan(law=laws.rubric5(0.0), after=laws.rubric5(-0.10), change_at=UNITS // 2, sigma0=0.273)
    rng = generator(scale.seed, "units")
    d_milli = np.concatenate(
        (laws.rubric5(0.0).sample(rng, UNITS // 2), laws.rubric5(-0.10).sample(rng, UNITS - UNITS // 2))
    )
    rollout = rollout_of(plan)
    return plan, [unit_of(at, Direction.FORWARD, int(d), rollout) for at, d in enumerate(d_milli, 1)]


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


FIGURES: Figures = {
    "the same evidence however it arrived": same_evidence,
    "small and quick": small_and_quick,
    "replay": replay,
}
