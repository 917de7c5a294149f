"""The detectors: three Shiryaev-Roberts copies per stream, one false-alarm budget over all streams.

Owns   what a stream is, its part ρ of the budget, its margin, how a unit enters it.
Knows not  thresholds, resets: `scoring.gates.harm` and `Rollout.since`.

A stream is (direction, slice, metric). With Σρ = 1 the statistic Σρ·R is again one that needs A units on average before a
false alarm, whatever is watched (`scoring.stats.shiryaev_roberts.pooled`). The parts are constants of the epoch and of
the slices' names, so that no score can move them.

Overall quality is watched in each direction and, with most of its part, in both together: a student that gets worse is worse
wherever it is asked, and two halves of a stream see it half as fast. What never mixes directions is the promotion evidence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache

import numpy as np

from router.rollout import Since
from router.types import Direction, UnitOf
from scoring.evidence import OUTCOME, POOLED, QUALITY, SEVERE, WORST_MILLI, harm_of, reading
from scoring.gates.slices import Named, label, rest
from scoring.stats import shiryaev_roberts
from scoring.stats.bets import FloatArray
from scoring.stats.lattice import FULL_WEIGHT, ceil_milli
from tutelage.contracts.decisions import Epoch, Unit

DETECTORS = ("hold", "down", "back")
"""Rows of a stream's state. Each has its own reset."""

EITHER = "either"
"""The direction of a stream that every unit enters."""

WHOLE = "whole"
AT_ONCE = "at once"
"""How detectors read units: whole, or the first turn of each conversation before it is over. Such turns enter streams of a
direction of this name. Turns of one are
alike: did each enter, the next one could be foretold from the last, and false alarms came sooner than A."""

Stream = tuple[str, str, str]
"""(direction, slice, metric)."""
Streams = Mapping[Stream, FloatArray]
"""M of the three detectors per stream, shape (3, 10), rows as in `DETECTORS`."""

QUALITY_SHARE = 0.95
"""Overall quality's part of the budget where anything else is watched; all of it where nothing is. A stream with
the part ρ is later by log(1/ρ) over what its statistic grows by with each pair of a real harm."""

EITHER_SHARE = 0.95
"""The part of overall quality's budget that watches both directions together."""


class Wiring(StrEnum):
    """Which units feed what. DIRECTED: as in `state`. UNDIRECTED: one stream feeds everything (simulations only)."""

    DIRECTED = "directed"
    UNDIRECTED = "undirected"


def budget(epoch: Epoch, named: Named, wiring: Wiring) -> Mapping[Stream, float]:
    """ρ of every stream, Σρ = 1. Overall quality has most of it; the rest is shared alike, all slices together once."""
    labels = [*(label(name, v) for name, values in named.items() for v in values), *map(rest, named)]
    early = tuple(sorted(epoch.gates.guardrails)) if epoch.unit == UnitOf.CONVERSATION else ()
    return _budget(wiring, tuple(_watched_metrics(epoch)), tuple(labels), early)


@lru_cache(maxsize=256)
def _budget(
    wiring: Wiring, metrics: tuple[str, ...], labels: tuple[str, ...], early: tuple[str, ...]
) -> Mapping[Stream, float]:
    blocks = [[(POOLED, metric)] for metric in metrics] + ([[(where, QUALITY) for where in labels]] if labels else [])
    quality = QUALITY_SHARE if blocks else 1.0
    parts = {(POOLED, QUALITY): quality}
    for block in blocks:
        parts |= dict.fromkeys(block, (1.0 - quality) / len(blocks) / len(block))
    return {
        (direction, where, metric): part * of_it
        for (where, metric), part in parts.items()
        for direction, of_it in _directions(wiring, where, metric, early).items()
    }


def _directions(wiring: Wiring, where: str, metric: str, early: Collection[str]) -> Mapping[str, float]:
    """Each direction's part of what a metric has. What is compared between arms is the students' stream alone; `early` is
    what first turns say."""
    if metric == OUTCOME:
        return {Direction.REVERSE: 1.0}
    if wiring is Wiring.UNDIRECTED:
        return {Direction.FORWARD: 1.0}
    if (where, metric) == (POOLED, QUALITY):
        one = (1.0 - EITHER_SHARE) / 2
        return {EITHER: EITHER_SHARE, Direction.FORWARD: one, Direction.REVERSE: one}
    both = (Direction.FORWARD, Direction.REVERSE)
    return dict.fromkeys((AT_ONCE, *both), 1 / 3) if metric in early else dict.fromkeys(both, 0.5)


def _watched_metrics(epoch: Epoch) -> list[str]:
    severe = [] if epoch.gates.severe is None else [SEVERE]
    return [*severe, *sorted(epoch.gates.guardrails)]


def tolerance(epoch: Epoch, stream: Stream) -> float:
    """δ_r of a stream: what the margins allow is no harm."""
    _, where, metric = stream
    if where != POOLED:
        return max(epoch.delta_r, epoch.gates.slice_margin)
    if metric == QUALITY:
        return epoch.delta_r
    return epoch.gates.guardrails.get(metric, max(epoch.delta_r, epoch.gates.severe or 0.0))


def watched(
    streams: Streams,
    units: Sequence[tuple[Unit, Sequence[str]]],
    parts: Iterable[Stream],
    since: Since,
    epoch: Epoch,
    *,
    read: str = WHOLE,
) -> Streams:
    """The detectors after `units`, each given with its slices' labels: d rounded up; no score is read as d = 0. `read`: `WHOLE`,
    or `AT_ONCE` of first turns.

    A unit that was drawn more often than others weighs less, w(d + δ_r), so that a stream's mean is its traffic's.
    """
    following = dict(streams)
    for unit, labels in units:
        entered = (AT_ONCE,) if read == AT_ONCE else (EITHER, unit.direction)
        for stream in parts:
            direction, where, metric = stream
            if direction in entered and (where == POOLED or where in labels):
                value = _harm(unit, metric)
                if value is not None:
                    rows = following.get(stream)
                    delta_r = tolerance(epoch, stream)
                    value = _weight(unit, where, epoch) * (value + delta_r) - delta_r
                    stepped = _stepped(_unwatched() if rows is None else rows, value, delta_r)
                    following[stream] = _counting(stepped, rows, unit.revision, since)
    return following


def values(streams: Streams, parts: Mapping[Stream, float], epoch: Epoch) -> dict[str, float]:
    """Σρ·R over the streams, for each detector."""
    found = dict.fromkeys(DETECTORS, 0.0)
    for stream, rows in streams.items():
        share, weights = parts.get(stream, 0.0), shiryaev_roberts.weights(tolerance(epoch, stream))
        for name, value in zip(DETECTORS, (rows @ weights).tolist(), strict=True):
            found[name] += share * value
    return found


def leading(streams: Streams, parts: Mapping[Stream, float], epoch: Epoch, detector: str) -> Stream | None:
    """The stream that raises a detector most; None where nothing was watched."""
    row = DETECTORS.index(detector)

    def raises(stream: Stream) -> float:
        weights = shiryaev_roberts.weights(tolerance(epoch, stream))
        return parts.get(stream, 0.0) * float(streams[stream][row] @ weights)

    return max(sorted(streams), key=raises, default=None)


def cleared(streams: Streams, detectors: Iterable[str]) -> Streams:
    """The streams with these detectors begun anew."""
    stale = [DETECTORS.index(name) for name in detectors]
    return {stream: _with_zeros(rows, stale) for stream, rows in streams.items()}


def _harm(unit: Unit, metric: str) -> float | None:
    """What a detector reads of a unit; None where it says nothing."""
    unscored = unit.missing is not None and metric in WORST_MILLI
    return harm_of(unit, metric) if unscored else reading(unit, metric)


def _weight(unit: Unit, where: str, epoch: Epoch) -> float:
    """π_min/π of a unit; 1 in a slice within which rates are equal."""
    equal = epoch.gates.adaptive is not None and where.startswith(label(epoch.gates.adaptive, ""))
    return 1.0 if equal else unit.weight_milli / FULL_WEIGHT


def _stepped(rows: FloatArray, d: float, delta_r: float) -> FloatArray:
    return shiryaev_roberts.step(rows, ceil_milli(d), delta_r=delta_r)


def _counting(stepped: FloatArray, rows: FloatArray | None, revision: int, since: Since) -> FloatArray:
    """The step, but only for the detectors that had begun when the unit was admitted."""
    starts = (since.hold, since.down, since.back)
    if revision >= max(starts):
        return stepped
    counts = np.array([revision >= start for start in starts])
    kept: FloatArray = np.where(counts[:, None], stepped, _unwatched() if rows is None else rows)
    return kept


def _unwatched() -> FloatArray:
    return np.zeros((len(DETECTORS), len(shiryaev_roberts.fresh())))


def _with_zeros(rows: FloatArray, stale: Sequence[int]) -> FloatArray:
    zeroed = rows.copy()
    zeroed[list(stale)] = 0.0
    return zeroed
