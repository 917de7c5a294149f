"""Exact limits for rates (Clopper & Pearson 1934).

Owns   one-sided confidence limits of a binomial proportion.
Knows not  sequential looking: these limits hold for one look. They drive holds and reports, never a promotion.
"""

from __future__ import annotations

from scipy.special import betaincinv


def lower_limit(hits: int, trials: int, *, confidence: float) -> float:
    """Largest p that `hits` or more in `trials` would refute at one-sided `confidence`: quantile of Beta(k, n−k+1).

    Assumes independent trials. Higher confidence gives a lower limit; 0 when there are no hits.

    >>> round(lower_limit(3, 100, confidence=0.95), 4), lower_limit(0, 100, confidence=0.95)
    (0.0082, 0.0)
    """
    _check(hits, trials, confidence)
    if hits == 0:
        return 0.0
    return float(betaincinv(hits, trials - hits + 1, 1.0 - confidence))


def upper_limit(hits: int, trials: int, *, confidence: float) -> float:
    """Smallest p that `hits` or fewer in `trials` would refute at one-sided `confidence`: quantile of Beta(k+1, n−k).

    >>> round(upper_limit(0, 300, confidence=0.95), 4), upper_limit(5, 5, confidence=0.95)
    (0.0099, 1.0)
    """
    _check(hits, trials, confidence)
    if hits == trials:
        return 1.0
    return float(betaincinv(hits + 1, trials - hits, confidence))


def _check(hits: int, trials: int, confidence: float) -> None:
    if not (0 <= hits <= trials and 0.0 < confidence < 1.0):
        raise ValueError(f"need 0 <= hits <= trials and 0 < confidence < 1, got {hits!r}, {trials!r}, {confidence!r}")
