"""How many pairs a promotion takes: before the first pair, and on the way.

Owns   KL_inf, n(α) and the forecast of pairs left.
Knows not  the clock: pairs become days only where the traffic is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from scoring.stats.bets import FloatArray
from scoring.stats.lattice import FULL_WEIGHT, LATTICE, Histogram, Key

OVERHEAD = 1.1
"""Mean pairs of the mixture over the information bound, as measured on rubric and pass/fail scores."""

BAND = (0.25, 2.5)
"""p10 and p90 of (pairs actually needed)/(forecast) for a student equal to its teacher, as measured."""

PSEUDO_PAIRS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsLeft:
    """A band of pairs, never a point: from `low` to `high` four times in five when the student equals the teacher.

    `high` is infinity where the data so far do not speak for the student at all.
    """

    low: float
    middle: float
    high: float


def kl_inf(histogram: Histogram, *, null_mean: float) -> float:
    """KL_inf = max_λ Ê log(1 + λ w(d − m)) over 0 ≤ λ ≤ 1/(1+m): nats per pair of the best fixed bet in hindsight.

    No test of level α can need fewer than log(1/α)/KL_inf pairs on average (Honda & Takemura 2010;
    Agrawal, Koolen & Juneja 2021). 0 when the mean is at or below `null_mean`. ≈ γ²/(2(σ²+γ²)), γ = mean − m.

    >>> round(kl_inf({(1000, 250): 1, (1000, -250): 1}, null_mean=-0.05), 5)
    0.02041
    >>> kl_inf({(1000, -250): 1}, null_mean=-0.05)
    0.0
    >>> bool(np.isclose(kl_inf({(1000, 0): 1}, null_mean=-0.05), -math.log(0.95)))  # a hidden -1 cannot be excluded
    True
    """
    if not histogram:
        return 0.0
    keys = sorted(histogram)
    cells = np.asarray(keys, dtype=np.float64) / LATTICE
    mass = np.asarray([histogram[key] for key in keys], dtype=np.float64)
    return _best_growth(cells[:, 0] * (cells[:, 1] - null_mean), mass / mass.sum(), 1.0 / (1.0 + null_mean))


def pairs_needed(alpha: float, *, growth: float) -> float:
    """n(α) ≈ 1.1 · log(1/α) / KL_inf, the mean number of pairs to reach 1/α; infinity without growth.

    >>> round(pairs_needed(0.05, growth=0.01616))
    204
    """
    return OVERHEAD * -math.log(alpha) / growth if growth > 0.0 else math.inf


def planning_law(*, sigma0: float, mean0: float = 0.0, count: int = PSEUDO_PAIRS) -> dict[Key, int]:
    """`count` pseudo-pairs of the plan: half at μ0 − σ0, half at μ0 + σ0, clipped to [−1, 1].

    >>> planning_law(sigma0=0.3)
    {(1000, -300): 50, (1000, 300): 50}
    """
    low, high = (round(LATTICE * min(1.0, max(-1.0, mean0 + sign * sigma0))) for sign in (-1, 1))
    half = count // 2
    return {(FULL_WEIGHT, low): half, (FULL_WEIGHT, high): half} if low < high else {(FULL_WEIGHT, low): count}


def pairs_left(
    histogram: Histogram, *, log_e: float, alpha: float, null_mean: float, sigma0: float, mean0: float = 0.0
) -> PairsLeft:
    """(log(1/α) − log E)/ĝ as a band; ĝ is KL_inf of the pairs so far plus 100 pseudo-pairs of the plan.

    The plan keeps early forecasts sane; it is outweighed after a few hundred pairs. The band is ×.25 to ×2.5, which
    was measured for an equal student; a student near the margin takes longer still.

    >>> left = pairs_left({}, log_e=0.0, alpha=0.05, null_mean=-0.05, sigma0=0.27)
    >>> round(left.low), round(left.middle), round(left.high)
    (43, 172, 429)
    >>> pairs_left({(1000, -500): 900}, log_e=-9.0, alpha=0.05, null_mean=-0.05, sigma0=0.27).high
    inf
    """
    missing_nats = max(0.0, -math.log(alpha) - log_e)
    if missing_nats == 0.0:
        return PairsLeft(low=0.0, middle=0.0, high=0.0)
    with_plan = dict(planning_law(sigma0=sigma0, mean0=mean0))
    for key, count in histogram.items():
        with_plan[key] = with_plan.get(key, 0) + count
    growth = kl_inf(with_plan, null_mean=null_mean)
    middle = missing_nats / growth if growth > 0.0 else math.inf
    return PairsLeft(low=BAND[0] * middle, middle=middle, high=BAND[1] * middle)


def _best_growth(gains: FloatArray, mass: FloatArray, ceiling: float) -> float:
    """max over λ in [0, ceiling] of Σ mass·log(1 + λ gain): concave, so the root of its derivative or an end."""

    def slope(stake: float) -> float:
        return float(mass @ (gains / (1.0 + stake * gains)))

    if slope(0.0) <= 0.0:
        return 0.0
    # At the ceiling a possible loss of everything makes the growth -inf; stay one part in 1e9 away from it.
    edge = ceiling * (1.0 - 1e-9)
    best = edge if slope(edge) >= 0.0 else float(brentq(slope, 0.0, edge, xtol=1e-12))
    return float(mass @ np.log1p(best * gains))
