"""The controller's memory of one route, and how a unit enters it.

Owns   `State` (evidence, fresh key, detectors, and the revision at which each began), `fold`, `encode`, `decode`.
Knows not  what is decided from it, the clock, the store.

    forward unit   evidence (promotion and futility); the fresh key while the student serves nothing
    reverse unit   the fresh key while the student serves
    either         the hold, down and back detectors of its direction

`Rollout.since` says at which revision each statistic began anew. What the state holds from before is dropped on sight,
and a unit admitted under an older revision does not count for it: a restart is a fact, not a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np

from router.rollout import Rollout, Since
from router.types import Direction
from scoring.evidence import Cell, Evidence
from scoring.gates.accounts import Account, opened, reopened
from scoring.stats import shiryaev_roberts
from scoring.stats.bets import FloatArray
from scoring.stats.ladder import log_threshold
from scoring.stats.lattice import ceil_milli
from tutelage.contracts.records import Epoch, Unit

FRESH_BLOCK = 200
"""Units after which the fresh key begins anew: it speaks of now."""

FRESH_ALPHA = 0.2
FRESH_NEED = log_threshold(FRESH_ALPHA)

DETECTORS = ("hold", "down", "back")
"""Rows of a stream's state. Each has its own reset."""


class Wiring(StrEnum):
    """Which units feed what. DIRECTED: as above. UNDIRECTED: one stream feeds everything (simulations only)."""

    DIRECTED = "directed"
    UNDIRECTED = "undirected"


BUDGET: Mapping[Wiring, Mapping[Direction, float]] = {
    Wiring.DIRECTED: {Direction.FORWARD: 0.5, Direction.REVERSE: 0.5},
    Wiring.UNDIRECTED: {Direction.FORWARD: 1.0},
}
"""ρ: each stream's part of the one false-alarm budget. Constants, so that no data can move them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """One route's statistics. `fresh` is the current block of the fresh key. Equal states have equal bytes (`encode`).

    `streams` holds M of the three detectors per direction, shape (3, 10), rows as in `DETECTORS`.
    """

    epoch: str
    delta: float
    wiring: Wiring
    since: Since
    evidence: Account
    fresh: Account
    streams: Mapping[Direction, FloatArray]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and encode(self) == encode(other)

    def __hash__(self) -> int:
        return hash(encode(self))


def initial(rollout: Rollout, epoch: Epoch, wiring: Wiring = Wiring.DIRECTED) -> State:
    """The state before the first unit of what `rollout` says is running."""
    return State(
        epoch=epoch.id,
        delta=epoch.delta,
        wiring=wiring,
        since=rollout.since,
        evidence=opened(Cell(epoch=epoch.id, direction=Direction.FORWARD), epoch.delta),
        fresh=_fresh_key(wiring, rollout, epoch),
        streams={},
    )


def fold(state: State, unit: Unit, rollout: Rollout, epoch: Epoch) -> State:
    """The state after one more unit. A unit of another epoch changes nothing."""
    return fold_all(state, (unit,), rollout, epoch)


def fold_all(state: State, units: Sequence[Unit], rollout: Rollout, epoch: Epoch) -> State:
    """The state after `units`, in this order: the same as `fold` one by one, with one copy of the counts."""
    state = caught_up(state, rollout, epoch)
    counted = [unit for unit in units if unit.epoch == state.epoch]
    if not counted:
        return state
    since = state.since
    forward = [u for u in counted if u.direction is Direction.FORWARD and u.revision >= since.evidence]
    now = state.fresh.evidence.cell.direction
    fresh = [u for u in counted if u.direction is now and u.revision >= since.fresh]
    return State(
        epoch=state.epoch,
        delta=state.delta,
        wiring=state.wiring,
        since=since,
        evidence=state.evidence.add(forward, state.delta) if forward else state.evidence,
        fresh=_tumbled(state.fresh, fresh, state.delta),
        streams=_watched(state.streams, counted, since, epoch.delta_r),
    )


def caught_up(state: State, rollout: Rollout, epoch: Epoch) -> State:
    """The state without what began anew since. Whoever reads a state reads it caught up."""
    if state.epoch != epoch.id:
        return initial(rollout, epoch, state.wiring)
    moved = state.fresh.evidence.cell.direction is not _fresh_direction(state.wiring, rollout)
    if state.since == rollout.since and not moved:
        return state
    began, since = state.since, rollout.since
    start = initial(rollout, epoch, state.wiring)
    stale = [row for row, name in enumerate(DETECTORS) if getattr(began, name) != getattr(since, name)]
    return replace(
        state,
        since=since,
        evidence=state.evidence if began.evidence == since.evidence else start.evidence,
        fresh=state.fresh if began.fresh == since.fresh and not moved else start.fresh,
        streams={direction: _cleared(rows, stale) for direction, rows in state.streams.items()},
    )


def detector_values(state: State, delta_r: float) -> dict[str, float]:
    """Σρ·R over the streams, for each detector."""
    values = dict.fromkeys(DETECTORS, 0.0)
    weights = shiryaev_roberts.weights(delta_r)
    for direction, rows in state.streams.items():
        share = BUDGET[state.wiring].get(direction, 0.0)
        for name, value in zip(DETECTORS, (rows @ weights).tolist(), strict=True):
            values[name] += share * value
    return values


# --- bytes ------------------------------------------------------------------------------------------------------------


def encode(state: State) -> bytes:
    """Canonical JSON: equal states give equal bytes."""
    return msgspec.json.encode(
        {
            "epoch": state.epoch,
            "delta": state.delta,
            "wiring": state.wiring.value,
            "since": {name: getattr(state.since, name) for name in Since.__slots__},
            "evidence": state.evidence.evidence.to_plain(),
            "fresh": state.fresh.evidence.to_plain(),
            "streams": {name: state.streams[name].tolist() for name in sorted(state.streams)},
        }
    )


def decode(body: bytes) -> State:
    """The state that `encode` wrote. Raises msgspec.DecodeError or KeyError when it is none."""
    plain: Any = msgspec.json.decode(body)
    delta = float(plain["delta"])
    return State(
        epoch=plain["epoch"],
        delta=delta,
        wiring=Wiring(plain["wiring"]),
        since=Since(**plain["since"]),
        evidence=reopened(Evidence.from_plain(plain["evidence"]), delta),
        fresh=reopened(Evidence.from_plain(plain["fresh"]), delta),
        streams={Direction(name): np.array(rows, dtype=np.float64) for name, rows in plain["streams"].items()},
    )


# --- parts ------------------------------------------------------------------------------------------------------------


def _fresh_direction(wiring: Wiring, rollout: Rollout) -> Direction:
    live = rollout.rung > 0 and wiring is Wiring.DIRECTED
    return Direction.REVERSE if live else Direction.FORWARD


def _fresh_key(wiring: Wiring, rollout: Rollout, epoch: Epoch) -> Account:
    return opened(Cell(epoch=epoch.id, direction=_fresh_direction(wiring, rollout)), epoch.delta)


def _tumbled(block: Account, units: Sequence[Unit], delta: float) -> Account:
    """The fresh key's block after `units`; a full block gives way to a new one when the next unit comes."""
    while units:
        if block.evidence.units >= FRESH_BLOCK:
            block = opened(block.evidence.cell, delta)
        room = FRESH_BLOCK - block.evidence.units
        block, units = block.add(units[:room], delta), units[room:]
    return block


def _watched(
    streams: Mapping[Direction, FloatArray], units: Sequence[Unit], since: Since, delta_r: float
) -> dict[Direction, FloatArray]:
    """The detectors after `units`: d rounded up; what has no score is read as d = 0."""
    following = dict(streams)
    starts = (since.hold, since.down, since.back)
    newest = max(starts)
    for unit in units:
        rows = following.get(unit.direction)
        if rows is None:
            rows = _unwatched()
        d_milli = 0 if unit.d is None or unit.missing is not None else ceil_milli(unit.d)
        stepped = shiryaev_roberts.step(rows, d_milli, delta_r=delta_r)
        if unit.revision < newest:
            counts = np.array([unit.revision >= start for start in starts])
            stepped = np.where(counts[:, None], stepped, rows)
        following[unit.direction] = stepped
    return following


def _unwatched() -> FloatArray:
    return np.zeros((len(DETECTORS), len(shiryaev_roberts.fresh())))


def _cleared(rows: FloatArray, stale: Sequence[int]) -> FloatArray:
    cleared = rows.copy()
    cleared[list(stale)] = 0.0
    return cleared
