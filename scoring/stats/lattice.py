"""The lattice on which score differences are counted: integer thousandths.

Owns   rounding, the histogram type and its algebra (merge, opposed reading).
Knows not  what is done with the counts.

A histogram `{(w_milli, d_milli): count}` is the only state of the e-process that is stored, merged or replayed:
counts add, so any sharding and any order of arrival give the same evidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

LATTICE = 1000
"""Steps per unit of score: one step is 0.001."""

FULL_WEIGHT = LATTICE
"""The weight of a pair from a uniformly sampled cell."""

Key = tuple[int, int]
Histogram = Mapping[Key, int]

# A product such as 0.29 * 1000 misses its integer by one ulp; that is no reason to lose a whole step.
_ULPS = 1e-9


def floor_milli(d: float) -> int:
    """d in thousandths, rounded DOWN, so that rounding can only hurt a promotion.

    >>> floor_milli(0.25), floor_milli(0.29), floor_milli(1 / 3), floor_milli(-1 / 3)
    (250, 290, 333, -334)
    """
    return math.floor(_checked(d) * LATTICE + _ULPS * LATTICE)


def ceil_milli(d: float) -> int:
    """d in thousandths, rounded UP, so that rounding can only delay an alarm or a refusal.

    >>> ceil_milli(0.25), ceil_milli(0.29), ceil_milli(1 / 3), ceil_milli(-1 / 3)
    (250, 290, 334, -333)
    """
    return math.ceil(_checked(d) * LATTICE - _ULPS * LATTICE)


def weight_milli(probability: float, floor: float) -> int:
    """Weight π_min/π_i in thousandths of a pair sampled with `probability` under a policy whose floor is `floor`.

    >>> weight_milli(1.0, 1.0), weight_milli(0.5, 0.1)
    (1000, 200)
    """
    if not 0.0 < floor <= probability <= 1.0:
        raise ValueError(f"need 0 < floor <= probability <= 1, got floor={floor!r} probability={probability!r}")
    return max(1, round(LATTICE * floor / probability))


def merged(left: Histogram, right: Histogram) -> dict[Key, int]:
    """Sum of two histograms: the evidence of two disjoint sets of pairs together.

    >>> merged({(1000, 0): 2}, {(1000, 0): 1, (1000, 250): 4})
    {(1000, 0): 3, (1000, 250): 4}
    """
    total = dict(left)
    for key, count in right.items():
        total[key] = total.get(key, 0) + count
    return total


def opposed(histogram: Histogram) -> dict[Key, int]:
    """The histogram of -d, read one lattice step against the reader.

    A stored d was rounded down by less than one step, so `d_milli + 1` is an upper bound of it: tests that gain from
    a *low* d (futility) read that bound, and what helped nobody's promotion does not help a refusal either.

    >>> opposed({(1000, -500): 3, (1000, 1000): 1, (1000, 999): 2})
    {(1000, 499): 3, (1000, -1000): 3}
    """
    mirror: dict[Key, int] = {}
    for (w_milli, d_milli), count in histogram.items():
        key = (w_milli, -min(d_milli + 1, LATTICE))
        mirror[key] = mirror.get(key, 0) + count
    return mirror


def size(histogram: Histogram) -> int:
    """Number of pairs counted, whatever they weigh.

    >>> size({(1000, 500): 3, (400, -250): 2})
    5
    """
    return sum(histogram.values())


def mean(histogram: Histogram) -> float:
    """Weighted mean Σwd/Σw of the counted d; NaN when nothing is counted.

    >>> mean({(1000, 500): 1, (1000, -250): 1})
    0.125
    """
    weight = sum(w * count for (w, _), count in histogram.items())
    if weight == 0:
        return math.nan
    return sum(w * d * count for (w, d), count in histogram.items()) / (weight * LATTICE)


def standard_deviation(histogram: Histogram) -> float:
    """Weighted standard deviation of the counted d (no small-sample correction); NaN when nothing is counted.

    >>> standard_deviation({(1000, 500): 1, (1000, -500): 1})
    0.5
    """
    centre = mean(histogram)
    if math.isnan(centre):
        return math.nan
    weight = sum(w * count for (w, _), count in histogram.items())
    return math.sqrt(sum(w * count * (d / LATTICE - centre) ** 2 for (w, d), count in histogram.items()) / weight)


def _checked(d: float) -> float:
    if not -1.0 - _ULPS <= d <= 1.0 + _ULPS:  # NaN fails this too
        raise ValueError(f"score difference {d!r} is outside [-1, 1]: scores lie in [0, 1]")
    return min(1.0, max(-1.0, d))
