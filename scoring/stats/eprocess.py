"""The promotion e-process: evidence against "the mean of d is at most m", readable at any time.

Owns   log-capital, log E, confidence sequences: all pure functions of a histogram `{(w_milli, d_milli): count}`.
Knows not  what a pair is, what threshold is asked for, who reads it and when.

For a null mean m (m = −δ for promotion)

    x_i = w_i (d_i − m),    λ_j = g_j / (1 + m),    L_j = Σ_i log(1 + λ_j x_i),    E = Σ_j ω_j exp L_j

If E[w(d − m) | past] ≤ 0 then each exp L_j is a non-negative supermartingale, so is the mixture, and by Ville's
inequality P(E ever reaches 1/α) ≤ α. Nothing else is assumed: no independence, no variance, no large sample, and any
rule for looking and stopping. (Ville 1939; Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables
by betting": its hedged capital process, one side.)
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from scoring.stats.bets import GRID, FloatArray, Prior, stakes
from scoring.stats.lattice import FULL_WEIGHT, LATTICE, Histogram

_BISECTIONS = 40  # 2 / 2**40: far below one lattice step


def log_capital(histogram: Histogram, *, null_mean: float) -> FloatArray:
    """L, shape (16,): the log-capital of each bet against E[d] ≤ `null_mean`.

    L_j = Σ_keys count · log1p(λ_j w (d − m)). Keys are summed in sorted order, so equal histograms give equal bits,
    however they came about. A larger `null_mean` (a smaller margin) gives less capital.

    >>> L = log_capital({(1000, 0): 40, (1000, 250): 12, (1000, -250): 10}, null_mean=-0.05)
    >>> L.shape, round(float(L.max()), 3)
    ((16,), 2.937)
    """
    if not histogram:
        return np.zeros_like(GRID)
    keys = sorted(histogram)
    cells = np.asarray(keys, dtype=np.float64) / LATTICE
    counts = np.fromiter((histogram[key] for key in keys), dtype=np.float64, count=len(keys))
    gains = cells[:, 0] * (cells[:, 1] - null_mean)
    total: FloatArray = counts @ np.log1p(np.multiply.outer(gains, stakes(null_mean)))
    return total


@lru_cache(maxsize=32_768)
def log_increment(w_milli: int, d_milli: int, null_mean: float) -> FloatArray:
    """What one pair adds to L, shape (16,), read-only; the whole online update is `L + log_increment(w, d, m)`.

    >>> bool(np.allclose(log_increment(1000, 250, -0.05), log_capital({(1000, 250): 1}, null_mean=-0.05)))
    True
    """
    if not (0 < w_milli <= FULL_WEIGHT and -LATTICE <= d_milli <= LATTICE):
        raise ValueError(f"w must be in (0, 1000] and d in [-1000, 1000] thousandths, got {w_milli!r}, {d_milli!r}")
    increment = np.log1p(stakes(null_mean) * (w_milli / LATTICE * (d_milli / LATTICE - null_mean)))
    increment.setflags(write=False)
    return increment


def log_e(capital: FloatArray, prior: Prior) -> float:
    """log E = logsumexp_j(log ω_j + L_j), in nats; 0 before the first pair.

    The prior is applied when evidence is read; it is no part of the state. `capital` must have been computed for the
    null mean that the prior was planned for.

    >>> from scoring.stats.bets import planning_prior
    >>> prior = planning_prior(null_mean=-0.05, sigma0=0.27)
    >>> round(log_e(log_capital({(1000, 0): 85, (1000, 250): 60, (1000, -250): 55}, null_mean=-0.05), prior), 2)
    6.71
    """
    terms = capital + prior.log_weights
    top = float(terms.max())
    return top + math.log(float(np.exp(terms - top).sum()))


def log_e_of(histogram: Histogram, prior: Prior) -> float:
    """log E of a histogram against the null mean that `prior` was planned for.

    >>> from scoring.stats.bets import planning_prior
    >>> round(log_e_of({}, planning_prior(null_mean=-0.05)), 9)
    0.0
    """
    return log_e(log_capital(histogram, null_mean=prior.null_mean), prior)


def lower_confidence(histogram: Histogram, prior: Prior, *, alpha: float) -> float:
    """Lower confidence sequence for E[d]: sup{m : E(m) ≥ 1/α}, by bisection; −1 while nothing is excluded.

    E(m) falls in m because (d − m)/(1 + m) does. Valid at all times and for all m at once, so an operator may read
    "not worse than −0.03 by now" at any moment, with error probability α in all.
    alpha  smaller is safer and gives a lower bound. prior  only its weights are used; they must not depend on the data.

    >>> from scoring.stats.bets import planning_prior
    >>> prior = planning_prior(null_mean=-0.05, sigma0=0.27)
    >>> pairs = {(1000, 0): 850, (1000, 250): 600, (1000, -250): 550}
    >>> round(lower_confidence(pairs, prior, alpha=0.05), 3)
    -0.006
    """
    need = -math.log(alpha)
    low, high = -1.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if log_e(log_capital(histogram, null_mean=middle), prior) >= need:
            low = middle
        else:
            high = middle
    return low


def upper_confidence(opposed_histogram: Histogram, prior: Prior, *, alpha: float) -> float:
    """Upper confidence sequence for E[d], from the *opposed* histogram (`lattice.opposed`); 1 while it excludes nothing.

    >>> from scoring.stats.bets import planning_prior
    >>> from scoring.stats.lattice import opposed
    >>> prior = planning_prior(null_mean=0.05, mean0=0.1, sigma0=0.27)
    >>> pairs = {(1000, 0): 850, (1000, 250): 600, (1000, -250): 550}
    >>> round(upper_confidence(opposed(pairs), prior, alpha=0.05), 3)
    0.02
    """
    return -lower_confidence(opposed_histogram, prior, alpha=alpha)
