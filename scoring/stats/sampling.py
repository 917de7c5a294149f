"""Which pairs are bought: rates per slice, and what unequal rates cost a pooled cell.

Owns   the allocation of a budget of pairs over slices, and Kish's factor. `lattice.weight_milli` is a pair's weight.
Knows not  scores. A rate may depend on everything that was seen before the pair, never on the pair: then each slice's
       e-process stays a martingale under sampling, and nothing has to be corrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np


def slice_rates(
    traffic: Mapping[str, float], *, unpassed: Set[str], pairs: float, watch_rate: float
) -> dict[str, float]:
    """Sampling probability per slice: equal numbers of pairs from those that have not passed, `watch_rate` of the others.

    traffic     units per day and slice;  pairs  units per day that the budget buys in all
    watch_rate  what the detectors get of slices that have passed

    A slice with less traffic than its part is sampled whole, and the others share what it leaves ("water filling").
    Of six slices that must all pass, this buys a seventh of the pairs that sampling in proportion to traffic needs.

    >>> slice_rates({"a": 800.0, "b": 150.0, "c": 50.0}, unpassed={"b", "c"}, pairs=200.0, watch_rate=0.01)
    {'a': 0.01, 'b': 0.9466666666666667, 'c': 1.0}
    >>> slice_rates({"a": 800.0}, unpassed=set(), pairs=200.0, watch_rate=0.01)
    {'a': 0.01}
    """
    passed = {name: watch_rate for name in traffic if name not in unpassed}
    left = pairs - sum(watch_rate * traffic[name] for name in passed)
    rates: dict[str, float] = {}
    waiting = sorted((name for name in traffic if name in unpassed), key=lambda name: traffic[name])
    for place, name in enumerate(waiting):
        part = max(0.0, left) / (len(waiting) - place)
        rates[name] = min(1.0, part / traffic[name]) if traffic[name] > 0.0 else 1.0
        left -= rates[name] * traffic[name]
    # A slice that has not passed is never watched less than one that has.
    return {name: passed[name] if name in passed else max(watch_rate, rates[name]) for name in traffic}


def kish_factor(traffic: Mapping[str, float], rates: Mapping[str, float]) -> float:
    """Effective over actual pairs of a pooled cell whose slices are sampled at different `rates`: (Σw)²/(n Σw²).

    w = π_min/π (Kish 1965). 1 where all rates are equal; pairs to a promotion grow by about its inverse.

    >>> kish_factor({"a": 1.0, "b": 1.0}, {"a": 0.5, "b": 0.5})
    1.0
    >>> round(kish_factor({"a": 0.9, "b": 0.1}, {"a": 0.1, "b": 1.0}), 2)
    0.58
    """
    names = sorted(traffic)
    bought = np.array([traffic[name] * rates[name] for name in names])
    weights = min(rates[name] for name in names) / np.array([rates[name] for name in names])
    return float((bought @ weights) ** 2 / (bought.sum() * (bought @ weights**2)))
