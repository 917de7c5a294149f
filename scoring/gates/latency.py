"""The teacher's frozen p95: what "slow" means in this epoch.

Owns   `Baselines`: the teacher's times until they are frozen, the limit of each from then on; the indicators of a unit.
Knows not  what a slow student leads to: the indicators are metrics that detectors watch. Which units these are the limits of.

The first 100 forward units of the evidence set the limits; the indicators begin after them. A limit that moved with the
traffic would drift with the harm that it should show. Both sides are measured while serving: a shadow call waits behind
what is served, and nobody waits for it.

A limit is one of single answers: each turn of a unit is held against it, and then their mean is taken, since a mean of times
hides the one that was slow. So that the p95 is that of the same turns, a unit sets it with one of its turns: the first, of the
next unit the second, and so on, whatever the times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from router.types import Direction
from tutelage.contracts.decisions import Unit

TIMES = ("first_token", "total")
SLACK = 1.2
"""Slower than this many times the teacher's p95 is slow …"""
SLACK_MS = 50.0
"""… unless it is by less than this: nobody notices, and a busy machine is no harm."""
FROZEN_AT = 100
_QUANTILE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """`seen` are the teacher's times in milliseconds that set the limits to come, `limit_ms` the limits that are set."""

    seen: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    limit_ms: Mapping[str, float] = field(default_factory=dict)

    def after(self, unit: Unit) -> Baselines:
        """The baselines after one more unit. Limits that are set stay."""
        if len(self.limit_ms) == len(TIMES) or unit.direction is not Direction.FORWARD:
            return self
        seen, limits = dict(self.seen), dict(self.limit_ms)
        for name in TIMES:
            taken_ms, before = unit.times_ms.get(f"teacher_{name}", ()), seen.get(name, ())
            if taken_ms and name not in limits:
                seen[name] = (*before, round(taken_ms[len(before) % len(taken_ms)]))
                if len(seen[name]) >= FROZEN_AT:
                    limits[name] = _limit_ms(sorted(seen.pop(name))[int(_QUANTILE * FROZEN_AT)])
        return Baselines(seen=seen, limit_ms=limits)

    def read(self, unit: Unit) -> Unit:
        """A unit that the student served, with its indicators of slowness: the part of its turns that were slow, negative."""
        if unit.direction is not Direction.REVERSE:
            return unit
        found = {
            f"slow_{name}": -sum(one_ms > limit for one_ms in taken_ms) / len(taken_ms)
            for name, limit in self.limit_ms.items()
            if (taken_ms := unit.times_ms.get(f"student_{name}"))
        }
        return msgspec.structs.replace(unit, metrics=unit.metrics | found) if found else unit


def _limit_ms(p95_ms: int) -> float:
    return max(SLACK * p95_ms, p95_ms + SLACK_MS)
