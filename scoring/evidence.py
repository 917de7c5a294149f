"""Evidence: what one cell has counted. The only state of the promotion test that is stored, merged or replayed.

Owns   the cell's name, the counts {(policy version, w, d in 1/1000): count}, what had no score (kept apart, by class),
       how many units and how many distinct keys stand behind it.
Knows not  margins, thresholds, rungs: those belong to whoever reads it (`scoring.gates`, `scoring.stats.eprocess`).

A cell counts its own metric of a unit (`reading`): the score difference d, or one of the unit's `metrics`, on the same
lattice and called d here all the same. Two readings of the same counts, each rounded against its reader:
    `promotion()`  d as counted (rounded down); what had no score is read as it was entered, the worst where nothing is known
    `opposed()`    the histogram of -d, d one step up; what had no score is read as d = 0, a conversation of which some
                   turns had none with those turns as 0, as detectors read it (`harm_milli`)
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

import msgspec

from router.types import Direction
from scoring.stats.lattice import LATTICE, Histogram, Key, ceil_milli, floor_milli, opposed
from tutelage.contracts.decisions import Unit
from tutelage.contracts.records import Json

Count = tuple[int, int, int]
"""(policy version, w in 1/1000, d in 1/1000)."""
Missing = tuple[str, int, int, int, int]
"""(class, policy version, w in 1/1000, d in 1/1000 as promotion reads it, and as what gains from low scores reads it)."""

POOLED = "all"
QUALITY, SEVERE, FLOOR, DISAGREEMENT = "quality", "severe", "floor", "disagreement"
SERVED, OUTCOME = "served", "outcome"
"""What the serving arm brought about, in [0, 1]; its difference between arms, which is what detectors read."""
ORDER = "order"
"""What the answer that the judge was shown first has over the second."""
WORST_MILLI: Mapping[str, int] = {QUALITY: -LATTICE, SEVERE: -LATTICE, FLOOR: 0, DISAGREEMENT: -LATTICE}
"""What promotion reads in each metric where nothing is known."""
TEACHER_FAILED = "teacher_failed"

_KEYS_KEPT = 32
_HASH_BYTES = 4
_HASHES = float(2 ** (8 * _HASH_BYTES))

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Where evidence belongs: cells are never averaged with each other."""

    epoch: str
    direction: Direction
    slice: str = POOLED
    metric: str = QUALITY

    def __str__(self) -> str:
        return f"{self.direction}/{self.slice}/{self.metric}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One cell's counts. Immutable: `add` and `merge` return new ones; equal counts are equal evidence.

    `units` counts units folded, `keys` holds the smallest 32 hashes of their keys (a k-minimum-values sketch: exact up to
    31 keys, mergeable, one key counts once). `first` and `last` are (time, unit id).
    """

    cell: Cell
    counts: Mapping[Count, int] = field(default_factory=dict)
    missing: Mapping[Missing, int] = field(default_factory=dict)
    units: int = 0
    keys: tuple[int, ...] = ()
    first: tuple[float, str] | None = None
    last: tuple[float, str] | None = None

    def add(self, unit: Unit) -> Evidence:
        """The evidence with one more unit. Raises ValueError where its d is outside [-1, 1]."""
        return self.add_all((unit,))

    def add_all(self, units: Sequence[Unit]) -> Evidence:
        """The evidence with all of `units`: the same as one by one, with one copy of the counts. Each has the metric."""
        if not units:
            return self
        counts, missing, keys = dict(self.counts), self.missing, self.keys
        for unit in units:
            d_milli = promotion_milli(unit, self.cell.metric)
            if unit.missing is None:
                place = (unit.policy_version, unit.weight_milli, d_milli)
                counts[place] = counts.get(place, 0) + 1
            else:
                harm = harm_milli(unit, self.cell.metric)
                missing = _plus(missing, (unit.missing, unit.policy_version, unit.weight_milli, d_milli, harm))
            keys = _with_key(keys, unit.key)
        marks = [(unit.last_at, unit.id) for unit in units]
        return Evidence(
            cell=self.cell,
            counts=counts,
            missing=missing,
            units=self.units + len(units),
            keys=keys,
            first=min(marks) if self.first is None else min(self.first, *marks),
            last=max(marks) if self.last is None else max(self.last, *marks),
        )

    def merge(self, other: Evidence) -> Evidence:
        """The evidence of two disjoint sets of units together. Raises ValueError where the cells differ."""
        if self.cell != other.cell:
            raise ValueError(f"cells {self.cell} and {other.cell} are different populations: they are never merged")
        firsts = [mark for mark in (self.first, other.first) if mark is not None]
        lasts = [mark for mark in (self.last, other.last) if mark is not None]
        return Evidence(
            cell=self.cell,
            counts=_sum(self.counts, other.counts),
            missing=_sum(self.missing, other.missing),
            units=self.units + other.units,
            keys=tuple(sorted({*self.keys, *other.keys})[:_KEYS_KEPT]),
            first=min(firsts, default=None),
            last=max(lasts, default=None),
        )

    def moved_to(self, where: str) -> Evidence:
        """The same counts as those of another slice."""
        return replace(self, cell=replace(self.cell, slice=where))

    def promotion(self) -> dict[Key, int]:
        """{(w, d): count} as the promotion test reads it."""
        histogram: dict[Key, int] = {}
        for (_, w_milli, d_milli), count in self.counts.items():
            histogram[w_milli, d_milli] = histogram.get((w_milli, d_milli), 0) + count
        for (_, _, w_milli, d_milli, _), count in self.missing.items():
            histogram[w_milli, d_milli] = histogram.get((w_milli, d_milli), 0) + count
        return histogram

    def opposed(self) -> dict[Key, int]:
        """{(w, -d): count} as a test reads it that gains from low scores."""
        histogram: dict[Key, int] = opposed(self.scored())
        for (_, _, w_milli, _, harm), count in self.missing.items():
            histogram[w_milli, -harm] = histogram.get((w_milli, -harm), 0) + count
        return histogram

    def scored(self) -> Histogram:
        """{(w, d): count} of the units that have a plain score."""
        histogram: dict[Key, int] = {}
        for (_, w_milli, d_milli), count in self.counts.items():
            histogram[w_milli, d_milli] = histogram.get((w_milli, d_milli), 0) + count
        return histogram

    def missing_by_class(self) -> dict[str, int]:
        """Units without a plain score, by class."""
        classes: dict[str, int] = {}
        for (name, *_), count in self.missing.items():
            classes[name] = classes.get(name, 0) + count
        return classes

    @property
    def distinct_keys(self) -> int:
        """How many different keys: exact below 32, estimated above ((k-1)/U_(k), Bar-Yossef et al. 2002)."""
        if len(self.keys) < _KEYS_KEPT:
            return len(self.keys)
        return max(_KEYS_KEPT, round((_KEYS_KEPT - 1) * _HASHES / self.keys[-1]))

    def to_plain(self) -> Json:
        """JSON-ready, in canonical order: equal evidence gives equal bytes."""
        return {
            "epoch": self.cell.epoch,
            "direction": self.cell.direction.value,
            "slice": self.cell.slice,
            "metric": self.cell.metric,
            "counts": [[*key, self.counts[key]] for key in sorted(self.counts)],
            "missing": [[*key, self.missing[key]] for key in sorted(self.missing)],
            "units": self.units,
            "keys": list(self.keys),
            "first": list(self.first) if self.first else None,
            "last": list(self.last) if self.last else None,
        }

    @classmethod
    def from_plain(cls, plain: Json) -> Self:
        """The evidence that `to_plain` wrote."""
        return cls(
            cell=Cell(
                epoch=plain["epoch"],
                direction=Direction(plain["direction"]),
                slice=plain["slice"],
                metric=plain["metric"],
            ),
            counts={(version, w, d): count for version, w, d, count in plain["counts"]},
            missing={(name, version, w, d, harm): count for name, version, w, d, harm, count in plain["missing"]},
            units=plain["units"],
            keys=tuple(plain["keys"]),
            first=_mark(plain["first"]),
            last=_mark(plain["last"]),
        )

    def digest(self) -> str:
        """SHA-256 of the canonical counts: two decisions that read the same evidence carry the same digest."""
        plain = self.to_plain()
        return hashlib.sha256(msgspec.json.encode([plain["counts"], plain["missing"]])).hexdigest()


def reading(unit: Unit, metric: str) -> float | None:
    """What the unit says of `metric`; None where it says nothing."""
    return unit.d if metric == QUALITY else unit.metrics.get(metric)


def counts_for(unit: Unit, metric: str) -> bool:
    """Whether a cell of `metric` counts the unit: it says something, or it is missing, which is never nothing."""
    return unit.missing is not None or reading(unit, metric) is not None


def promotion_milli(unit: Unit, metric: str = QUALITY) -> int:
    """d in thousandths as promotion reads it: rounded down, the worst where nothing is known."""
    value = reading(unit, metric)
    return WORST_MILLI[metric] if value is None else floor_milli(value)


def harm_of(unit: Unit, metric: str = QUALITY) -> float:
    """What a unit that is missing says to whoever gains from low scores: its turns without a plain score say nothing, 0."""
    return unit.harm.get(metric, 0.0)


def harm_milli(unit: Unit, metric: str = QUALITY) -> int:
    """The same in thousandths, rounded up."""
    return ceil_milli(harm_of(unit, metric))


def hash_of(key: str) -> int:
    """A sticky key's place among 2³²."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=_HASH_BYTES).digest(), "big")


def _plus(counts: Mapping[K, int], key: K) -> dict[K, int]:
    return {**counts, key: counts.get(key, 0) + 1}


def _sum(left: Mapping[K, int], right: Mapping[K, int]) -> dict[K, int]:
    return {key: left.get(key, 0) + right.get(key, 0) for key in (*left, *right)}


def _with_key(keys: tuple[int, ...], key: str) -> tuple[int, ...]:
    hashed = hash_of(key)
    if len(keys) == _KEYS_KEPT and hashed >= keys[-1]:
        return keys
    place = bisect_left(keys, hashed)
    if place < len(keys) and keys[place] == hashed:
        return keys
    return (*keys[:place], hashed, *keys[place:])[:_KEYS_KEPT]


def _mark(plain: Json) -> tuple[float, str] | None:
    return None if plain is None else (float(plain[0]), str(plain[1]))
