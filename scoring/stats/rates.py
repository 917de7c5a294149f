"""Rates that are looked at all the time: is one above a limit, is a split what it was told to be?

Owns   e-processes for yes-or-no outcomes, and the lower confidence sequence of a rate. `binomial` is for one look.
Knows not  what is counted: each outcome must be of another unit (sticky key, conversation), or dependence is counted as
       evidence.

An outcome ξ whose conditional probability is at most p has E[exp θξ | past] ≤ 1 − p + p e^θ for θ > 0, so

    Π_i exp(θ ξ_i) / (1 − p_i + p_i e^θ)

is a non-negative supermartingale, and so is its mean over a fixed grid of θ; for a split with known p_i it is a
martingale for θ of either sign. By Ville's inequality it ever reaches 1/α with probability at most α. (Robbins 1970;
for the split: Lindon & Malek 2022, "Anytime-valid inference for multinomial count data", here with a p that may move.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import logsumexp

from scoring.stats.bets import FloatArray

TILTS: FloatArray = np.geomspace(0.02, 3.0, 16)
"""θ: changes of the odds by a factor from 1.02 to 20. Small ones find a slight fault late, large ones a gross one soon."""
TILTS.setflags(write=False)

BOTH_TILTS: FloatArray = np.concatenate((-TILTS, TILTS))
BOTH_TILTS.setflags(write=False)

_BISECTIONS = 50


def log_e_above(hits: int, trials: int, *, rate: float) -> float:
    """log of the evidence that outcomes come more often than `rate`, after `hits` in `trials`.

    Assumes nothing of the outcomes but a conditional probability of at most `rate` under the null hypothesis.

    >>> round(log_e_above(30, 1000, rate=0.005), 1), log_e_above(5, 1000, rate=0.005) < 0
    (25.7, True)
    """
    _check(hits, trials)
    return _mixed(hits * TILTS - trials * _log_mean(TILTS, rate))


def lower_rate(hits: int, trials: int, *, alpha: float) -> float:
    """Lower confidence sequence of a rate: sup{p : E(p) ≥ 1/α}, by bisection; 0 while nothing is excluded.

    It ever lies above the true rate with probability at most `alpha`, however often it is read.

    >>> round(lower_rate(34, 1000, alpha=0.05), 4), lower_rate(0, 1000, alpha=0.05)
    (0.0191, 0.0)
    """
    _check(hits, trials)
    low, high = 0.0, hits / trials if trials else 0.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if log_e_above(hits, trials, rate=middle) >= -math.log(alpha):
            low = middle
        else:
            high = middle
    return low


def log_e_split(counts: Mapping[int, tuple[int, int]]) -> float:
    """log of the evidence that a split is not what it was told to be: compare with log(1/α), α small (.001).

    counts  share in basis points → (units admitted under it, units of them that the student got). The share may move at
            any time, for any reason; what matters is that each unit had the probability under which it is counted.
            What was impossible (a student's unit under share 0) and happened all the same is infinite evidence.

    >>> log_e_split({100: (2000, 21), 5000: (4000, 1985)}) < 0
    True
    >>> round(log_e_split({5000: (4000, 2250)}), 1)
    27.7
    """
    total = np.zeros_like(BOTH_TILTS)
    for share_bp, (units, student) in sorted(counts.items()):
        _check(student, units)
        if (share_bp == 0 and student > 0) or (share_bp == 10_000 and student < units):
            return math.inf
        total += student * BOTH_TILTS - units * _log_mean(BOTH_TILTS, share_bp / 10_000)
    return _mixed(total)


def _log_mean(tilts: FloatArray, rate: float) -> FloatArray:
    """log(1 − p + p e^θ)."""
    mean: FloatArray = np.log1p(rate * np.expm1(tilts))
    return mean


def _mixed(log_capital: FloatArray) -> float:
    """log of the mean over the grid."""
    return float(logsumexp(log_capital)) - math.log(len(log_capital))


def _check(hits: int, trials: int) -> None:
    if not 0 <= hits <= trials:
        raise ValueError(f"need 0 <= hits <= trials, got {hits!r} of {trials!r}")
