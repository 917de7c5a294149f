"""From windows to figures: medians of rounds, and ratios taken round by round. Pure.

A ratio is the median of the rounds' ratios, each of two neighbours in time, with the smallest and largest of them: a machine
that grows slower between rounds moves both sides of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{shown(self.median)} ({shown(self.low)}-{shown(self.high)})"


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError where there are none."""
    if not values:
        raise ValueError("no round was measured: a spread needs at least one value")
    return Spread(median=median(values), low=min(values), high=max(values))


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Round by round. Raises ValueError where the rounds are not pairs or a round's divisor is not positive."""
    if len(above) != len(below):
        raise ValueError(f"{len(above)} rounds against {len(below)}: a ratio needs pairs")
    if any(value <= 0 for value in below):
        raise ValueError(f"a ratio to {min(below):g} says nothing")
    return spread([one / other for one, other in zip(above, below, strict=True)])


def shown(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - len(str(int(abs(value)))) + 1) if abs(value) >= 1 else 2
    return f"{value:,.{digits}f}"
