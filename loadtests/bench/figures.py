"""From measurements to figures: series by table and system, medians of rounds, ratios taken round by round. Pure.

A ratio is the median of the rounds' ratios, each of two neighbours in time, with the smallest and largest of them: a machine
that grows slower between rounds moves both sides of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Tables = Mapping[str, Mapping[str, Sequence[float]]]
"""By table (`cpu_us plain`) and system, one number per round. What was not measured is not there."""


class Unmeasured(LookupError):
    """A figure needs a series that no round gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return shown(self.median)
        return f"{shown(self.median)} ({shown(self.low)} to {shown(self.high)})"


def series(tables: Tables, table: str, system: str) -> Sequence[float]:
    """Raises Unmeasured."""
    values = tables.get(table, {}).get(system)
    if not values:
        raise Unmeasured(f"{table} of {system} was not measured")
    return values


def spread(values: Sequence[float]) -> Spread:
    """Raises Unmeasured where there are none."""
    if not values:
        raise Unmeasured("a spread needs at least one round")
    return Spread(median=median(values), low=min(values), high=max(values))


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Round by round. Raises ValueError where the rounds are no pairs, Unmeasured where a divisor is not positive."""
    if len(above) != len(below):
        raise ValueError(f"{len(above)} rounds against {len(below)}: a ratio needs pairs")
    if any(value <= 0 for value in below):
        raise Unmeasured(f"a ratio to {min(below):g} says nothing")
    return spread([one / other for one, other in zip(above, below, strict=True)])


def added(above: Sequence[float], direct: Sequence[float]) -> list[float]:
    """What a system adds to the same load without it, round by round."""
    return [one - other for one, other in zip(above, direct, strict=True)]


def shown(value: float) -> str:
    """Three significant digits, without an exponent."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:,.{digits}f}"
