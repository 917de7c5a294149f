"""The bets of the e-process: a fixed grid of stakes, and the prior that weighs them.

Owns   the grid g and the planning prior ω.
Knows not  data: both are fixed before the first pair is read. A prior that looked at the stream it is used on would
       void the guarantee.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

FloatArray = NDArray[np.float64]

GRID: FloatArray = np.geomspace(0.04, 0.98, 16)
"""g_j: stakes as fractions of the largest stake that can never lose everything, 1/(1 + m) for the null mean m."""
GRID.setflags(write=False)

DEFAULT_SIGMA0 = 0.30
DEFAULT_SPREAD = 0.5
_FLOOR = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Weights ω_j of the 16 bets (sum 1), and the plan they came from. Equal when the plans are equal."""

    null_mean: float
    sigma0: float
    mean0: float
    spread: float
    weights: FloatArray = field(compare=False, repr=False)
    log_weights: FloatArray = field(compare=False, repr=False)


def planning_prior(
    *, null_mean: float, sigma0: float = DEFAULT_SIGMA0, mean0: float = 0.0, spread: float = DEFAULT_SPREAD
) -> Prior:
    """Capped log-normal prior over the bets, centred on the Kelly bet of the planned alternative.

        λ0  = γ / (σ0² + γ²),  γ = μ0 − m          Kelly's stake, second order (Waudby-Smith & Ramdas 2024,
                                                   "Estimating means of bounded random variables by betting")
        ω_j = Φ((log b_{j+1} − log λ0)/s) − Φ((log b_j − log λ0)/s)

    b_j are the geometric midpoints of the stakes λ_j = g_j/(1+m); the outermost cells take the mass beyond them, so
    that a plan whose best stake lies beyond the grid bets the largest one ("capped").

    Assumes  nothing for validity (any fixed ω with sum ≤ 1 gives an e-process); for efficiency, that the pairs have
             about standard deviation σ0 and mean μ0.
    null_mean  m, the mean that is to be refuted: −δ for promotion, +δ for the opposed reading (futility).
    sigma0   standard deviation of d in *other* data (offline evaluation). Too small costs more pairs than too large:
             use 1.1 to 1.2 times the estimate.
    mean0    planned mean; larger bets bolder.
    spread   s, in nats of λ: wider is more robust to a wrong σ0 and slower for a right one.

    >>> prior = planning_prior(null_mean=-0.05, sigma0=0.40)
    >>> round(float(prior.weights.sum()), 12), int(prior.weights.argmax())
    (1.0, 9)
    >>> int(planning_prior(null_mean=-0.05, sigma0=0.05).weights.argmax())
    15
    """
    gap = mean0 - null_mean
    if not (-1.0 < null_mean < 1.0 and gap > 0.0 and sigma0 >= 0.0 and spread > 0.0):
        raise ValueError(
            f"a prior needs -1 < null_mean < mean0, sigma0 >= 0 and spread > 0, got null_mean={null_mean!r} "
            f"mean0={mean0!r} sigma0={sigma0!r} spread={spread!r}"
        )
    log_kelly = math.log(gap / (sigma0**2 + gap**2))
    log_stakes = np.log(stakes(null_mean))
    bounds = np.concatenate(([-np.inf], (log_stakes[1:] + log_stakes[:-1]) / 2, [np.inf]))
    weights = np.maximum(np.diff(ndtr((bounds - log_kelly) / spread)), _FLOOR)
    weights /= weights.sum()
    log_weights = np.log(weights)
    weights.setflags(write=False)
    log_weights.setflags(write=False)
    return Prior(
        null_mean=null_mean,
        sigma0=sigma0,
        mean0=mean0,
        spread=spread,
        weights=weights,
        log_weights=log_weights,
    )


def stakes(null_mean: float) -> FloatArray:
    """λ_j = g_j / (1 + m), shape (16,): stakes under which 1 + λ(d − m) stays positive for every d in [−1, 1].

    >>> bool((1 + stakes(-0.05) * (-1 + 0.05) > 0).all())
    True
    """
    return GRID / (1.0 + null_mean)
