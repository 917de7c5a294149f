"""The controller's memory of one route, and how a unit enters it.

Owns   `State` (cells, fresh key, detectors, and the revision at which each began) and `fold`.
Knows not  what is decided from it, the clock, the store.

    forward unit   the cells of every metric that it has and of its slices; the fresh key while the student serves nothing
    reverse unit   the fresh key while the student serves
    either         the hold, down and back detectors of its streams, guardrails and the comparison between arms among them; the
                   alarm about the judge's order

`Rollout.since` says at which revision each statistic began anew. What the state holds from before is dropped on sight,
and a unit admitted under an older revision does not count for it: a restart is a fact, not a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import msgspec

from router.rollout import Rollout, Since
from router.types import Direction
from scoring.evidence import POOLED, QUALITY, Cell, Evidence, counts_for
from scoring.gates import streams
from scoring.gates.accounts import Account, opened, reopened
from scoring.gates.caps import Blocks, capped
from scoring.gates.fastlane import Comparisons
from scoring.gates.labels import Label, Labels
from scoring.gates.latency import Baselines
from scoring.gates.metrics import pooled_metrics, target
from scoring.gates.order import Order
from scoring.gates.slices import NAMING_UNITS, Named, Place, Traffic, counted, home, labels_of, name_values
from scoring.gates.streams import DETECTORS, Streams, Wiring
from scoring.gates.tally import Tallies, tallied
from scoring.stats.ladder import log_threshold
from scoring.stats.lattice import FULL_WEIGHT
from tutelage.contracts.decisions import Epoch, Unit

FRESH_BLOCK = 200
"""Units after which the fresh key begins anew: it speaks of now."""

FRESH_ALPHA = 0.2
FRESH_NEED = log_threshold(FRESH_ALPHA)

OVERALL: Place = (POOLED, QUALITY)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """One route's statistics. `fresh` is the current block of the fresh key. Equal states have equal bytes (`codec`).

    `cells` are the forward promotion cells by (slice, metric); `named` are the slices' values with a cell of their own;
    `baselines` go by how units are read; `entered` counts forward units since the fresh key last began: since the stage was
    entered.
    """

    epoch: str
    wiring: Wiring
    since: Since
    cells: Mapping[Place, Account]
    fresh: Account
    streams: Streams
    named: Named
    baselines: Mapping[str, Baselines]
    comparisons: Comparisons
    blocks: Blocks
    traffic: Traffic
    labels: Labels
    tallies: Tallies
    entered: int
    order: Order

    @property
    def overall(self) -> Account:
        """The pooled forward quality cell."""
        return self.cells[OVERALL]

    @property
    def evidence(self) -> dict[Place, Evidence]:
        """The counts of every promotion cell."""
        return {place: account.evidence for place, account in self.cells.items()}


def initial(rollout: Rollout, epoch: Epoch, wiring: Wiring = Wiring.DIRECTED) -> State:
    """The state before the first unit of what `rollout` says is running."""
    return State(
        epoch=epoch.id,
        wiring=wiring,
        since=rollout.since,
        cells={(POOLED, metric): _cell(epoch, (POOLED, metric)) for metric in pooled_metrics(epoch)},
        fresh=_fresh_key(wiring, rollout, epoch),
        streams={},
        named={},
        baselines={},
        comparisons={},
        blocks={},
        traffic={},
        labels=Labels(),
        tallies={},
        entered=0,
        order=Order(),
    )


def fold(state: State, unit: Unit, rollout: Rollout, epoch: Epoch) -> State:
    """The state after one more unit. A unit of another epoch changes nothing."""
    return fold_all(state, (unit,), rollout, epoch)


def fold_all(state: State, units: Sequence[Unit], rollout: Rollout, epoch: Epoch, turns: Sequence[Unit] = ()) -> State:
    """The state after `units`, in this order: the same as `fold` one by one, with one copy of the counts.

    `turns` come first: the first ones of conversations that may go on, with what needs no judge. Detectors alone read them.
    """
    state = caught_up(state, rollout, epoch)
    state = _detected(state, [turn for turn in turns if turn.epoch == state.epoch], epoch, read=streams.AT_ONCE)
    left = [unit for unit in units if unit.epoch == state.epoch]
    while left:
        batch, left = _until_naming(state, left, epoch)
        state = _folded(state, batch, epoch)
    return state


def fold_labels(state: State, labels: Sequence[Label], rollout: Rollout, epoch: Epoch, now: float) -> State:
    """The state after folded pairs, in the order of folding, with people's labels. Those of other evidence are passed over."""
    state = caught_up(state, rollout, epoch)
    return replace(state, labels=state.labels.after(labels, epoch, state.since.evidence, now))


def caught_up(state: State, rollout: Rollout, epoch: Epoch) -> State:
    """The state without what began anew since. Whoever reads a state reads it caught up."""
    if state.epoch != epoch.id:
        return replace(initial(rollout, epoch, state.wiring), labels=state.labels.restarted())
    moved = state.fresh.evidence.cell.direction is not _fresh_direction(state.wiring, rollout)
    if state.since == rollout.since and not moved:
        return state
    began, since = state.since, rollout.since
    start = initial(rollout, epoch, state.wiring)
    same = began.evidence == since.evidence
    stale = [name for name in DETECTORS if getattr(began, name) != getattr(since, name)]
    return replace(
        state,
        since=since,
        cells=state.cells if same else start.cells,
        named=state.named if same else start.named,
        baselines=state.baselines if same else start.baselines,
        comparisons=state.comparisons if same else start.comparisons,
        blocks=state.blocks if same else start.blocks,
        traffic=state.traffic if same else start.traffic,
        labels=state.labels if same else state.labels.restarted(),
        tallies=state.tallies if same else start.tallies,
        entered=state.entered if began.fresh == since.fresh else 0,
        fresh=state.fresh if began.fresh == since.fresh and not moved else start.fresh,
        streams=streams.cleared(state.streams, stale),
    )


def detector_values(state: State, epoch: Epoch) -> dict[str, float]:
    """Σρ·R over the streams, for each detector."""
    return streams.values(state.streams, streams.budget(epoch, state.named, state.wiring), epoch)


def leading_stream(state: State, epoch: Epoch, detector: str) -> str:
    """What raises a detector most, in words: direction, slice and metric."""
    stream = streams.leading(state.streams, streams.budget(epoch, state.named, state.wiring), epoch, detector)
    return "nothing" if stream is None else "/".join(stream)


# --- parts ------------------------------------------------------------------------------------------------------------


def _until_naming(state: State, units: list[Unit], epoch: Epoch) -> tuple[list[Unit], list[Unit]]:
    """The units up to the one with which slices are named, and those after it."""
    if state.named or not epoch.gates.slices:
        return units, []
    room = NAMING_UNITS - state.overall.evidence.units
    seen = accumulate(_is_evidence(unit, state.since) for unit in units)
    last = next((index for index, forward in enumerate(seen) if forward >= room), len(units) - 1)
    return units[: last + 1], units[last + 1 :]


def _folded(state: State, units: Sequence[Unit], epoch: Epoch) -> State:
    """The state after units that do not reach past the naming of slices."""
    since, named = state.since, state.named
    blocks, counting = capped(state.blocks, units, epoch.gates.max_units_per_key)
    forward = [unit for unit in counting if _is_evidence(unit, since)]
    cells, traffic = _counted(state, forward, epoch)
    if not named and epoch.gates.slices and cells[OVERALL].evidence.units >= NAMING_UNITS:
        named = name_values(traffic, epoch.gates)
        cells, traffic = _homed(cells, traffic, named)
    now = state.fresh.evidence.cell.direction
    fresh = [u for u in counting if u.direction is now and u.revision >= since.fresh]
    state = _detected(state, units, epoch)
    return replace(
        state,
        cells=cells,
        named=named,
        fresh=_tumbled(state.fresh, fresh),
        blocks=blocks,
        traffic=traffic,
        tallies=tallied(state.tallies, units, since.evidence),
        entered=state.entered + sum(unit.revision >= since.fresh for unit in forward),
        order=state.order.after(units),
    )


def _detected(
    state: State,
    units: Sequence[Unit],
    epoch: Epoch,
    read: str = streams.WHOLE,
) -> State:
    """The state after detectors have read the units."""
    if not units:
        return state
    baselines, watched = _observed(state, units, epoch, read)
    parts = streams.budget(epoch, state.named, state.wiring)
    return replace(
        state,
        streams=streams.watched(state.streams, watched, parts, state.since, epoch, read=read),
        baselines={**state.baselines, read: baselines} if baselines != Baselines() else state.baselines,
    )


def _observed(
    state: State, units: Sequence[Unit], epoch: Epoch, read: str
) -> tuple[Baselines, list[tuple[Unit, tuple[str, ...]]]]:
    """What detectors read of the units, in their order: each with its labels."""
    baselines, guarded = state.baselines.get(read, Baselines()), epoch.gates.guardrails
    watched: list[tuple[Unit, tuple[str, ...]]] = []
    for unit in units:
        labels = labels_of(unit, epoch.gates, state.named, ()) if state.named else ()
        watched.append((baselines.read(unit) if guarded else unit, labels))
        if guarded:
            baselines = baselines.after(unit)
    return baselines, watched


def _is_evidence(unit: Unit, since: Since) -> bool:
    return unit.direction is Direction.FORWARD and unit.revision >= since.evidence


def _counted(state: State, forward: Sequence[Unit], epoch: Epoch) -> tuple[Mapping[Place, Account], Traffic]:
    """The cells after forward units, each metric's and those of the units' slices; and the traffic of slices."""
    if not forward:
        return state.cells, state.traffic
    cells, traffic, rules = dict(state.cells), state.traffic, epoch.gates
    pooled = [_weighing(unit, unit.weight_milli * unit.risk_milli // FULL_WEIGHT) for unit in forward]
    for place in [(POOLED, metric) for metric in pooled_metrics(epoch)]:
        cells[place] = cells[place].add([unit for unit in pooled if counts_for(unit, place[1])])
    sliced: dict[Place, list[Unit]] = {}
    for unit in forward if rules.slices else ():
        labels = labels_of(unit, rules, state.named, traffic)
        traffic = counted(traffic, labels, unit.weight_milli)
        for name, where in zip(rules.slices, labels, strict=True):
            # Within one value of the slice that sampling follows, rates are equal.
            weight = FULL_WEIGHT if name == rules.adaptive else unit.weight_milli
            sliced.setdefault((where, QUALITY), []).append(_weighing(unit, weight))
    for place, units in sliced.items():
        cells[place] = (cells.get(place) or _cell(epoch, place)).add(units)
    return cells, traffic


def _weighing(unit: Unit, weight_milli: int) -> Unit:
    if unit.weight_milli == weight_milli:
        return unit
    return msgspec.structs.replace(unit, weight_milli=max(1, weight_milli))


def _homed(cells: Mapping[Place, Account], traffic: Traffic, named: Named) -> tuple[Mapping[Place, Account], Traffic]:
    """Cells and traffic after naming: what is small is in its slice's rest."""
    kept: dict[Place, Account] = {}
    for (where, metric), account in cells.items():
        place = (home(where, named), metric)
        moved = account.evidence.moved_to(place[0])
        merged = kept[place].evidence.merge(moved) if place in kept else moved
        kept[place] = reopened(merged, account.null_mean)
    masses: dict[str, int] = {}
    for where, mass in traffic.items():
        masses[home(where, named)] = masses.get(home(where, named), 0) + mass
    return kept, masses


def _cell(epoch: Epoch, place: Place) -> Account:
    where, metric = place
    cell = Cell(epoch=epoch.id, direction=Direction.FORWARD, slice=where, metric=metric)
    return opened(cell, target(epoch, place).null_mean)


def _fresh_direction(wiring: Wiring, rollout: Rollout) -> Direction:
    live = rollout.rung > 0 and wiring is Wiring.DIRECTED
    return Direction.REVERSE if live else Direction.FORWARD


def _fresh_key(wiring: Wiring, rollout: Rollout, epoch: Epoch) -> Account:
    return opened(Cell(epoch=epoch.id, direction=_fresh_direction(wiring, rollout)), -epoch.delta)


def _tumbled(block: Account, units: Sequence[Unit]) -> Account:
    """The fresh key's block after `units`; a full block gives way to a new one when the next unit comes."""
    while units:
        if block.evidence.units >= FRESH_BLOCK:
            block = opened(block.evidence.cell, block.null_mean)
        room = FRESH_BLOCK - block.evidence.units
        block, units = block.add(units[:room]), units[room:]
    return block
