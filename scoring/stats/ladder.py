"""How much evidence each rung of a rollout asks for.

Owns   α_v (a student's attempts), α_k (a rollout's rungs) and the thresholds log(1/α).
Knows not  evidence. One e-process serves all rungs: {reach rung k} ⊂ {sup E ≥ 1/α_k}, so by Ville's inequality a
       student with E[d] ≤ −δ ever reaches rung k with probability at most α_k; looks and rungs cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

ALPHA_CAP = 0.20
"""No rung, however small, is reached on less evidence than this."""


def attempt_alpha(alpha: float, attempt: int) -> float:
    """α_v = 2α / (v(v+1)) for attempt v = 1, 2, …: retraining until it passes must not pass by luck.

    Σ_v α_v = 2α over all attempts for ever (telescoping sum); v = 1 keeps α; the tenth costs 4 nats more.

    >>> [round(attempt_alpha(0.005, v), 6) for v in (1, 2, 10)]
    [0.005, 0.001667, 9.1e-05]
    """
    if not 0.0 < alpha < 1.0 or attempt < 1:
        raise ValueError(f"need 0 < alpha < 1 and attempt >= 1, got alpha={alpha!r} attempt={attempt!r}")
    return 2.0 * alpha / (attempt * (attempt + 1))


def rung_alphas(shares_bp: Sequence[int], *, alpha: float) -> tuple[float, ...]:
    """α_k = min(.20, α · s_top / s_k) for the live rungs, shares in basis points, rising.

    `alpha` bounds the probability that a bad student ever gets the top share; small rungs may be reached on less.

    >>> [round(a, 4) for a in rung_alphas((100, 500, 1000, 2500, 5000, 9000), alpha=0.005)]
    [0.2, 0.09, 0.045, 0.018, 0.009, 0.005]
    """
    if not shares_bp or shares_bp[0] <= 0 or any(b <= a for a, b in pairwise(shares_bp)):
        raise ValueError(f"live rungs must be rising shares above 0, got {tuple(shares_bp)!r}")
    return tuple(min(ALPHA_CAP, alpha * shares_bp[-1] / share) for share in shares_bp)


def log_threshold(alpha: float) -> float:
    """log(1/α) in nats: the log E that a promotion at level α needs.

    >>> round(log_threshold(0.005), 2)
    5.3
    """
    return -math.log(alpha)


def exposure_bound(shares_bp: Sequence[int], *, alpha: float) -> float:
    """Σ_k (s_k − s_{k−1}) α_k: the largest expected maximum share (0 to 1) of a student at or below the margin.

    >>> round(exposure_bound((100, 500, 1000, 2500, 5000, 9000), alpha=0.005), 4)
    0.0148
    """
    alphas = rung_alphas(shares_bp, alpha=alpha)
    below = (0, *shares_bp[:-1])
    return sum((share - lower) * a for share, lower, a in zip(shares_bp, below, alphas, strict=True)) / 10_000
