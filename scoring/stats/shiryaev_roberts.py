"""The e-Shiryaev-Roberts detector: has the student become worse than −δ_r, lately?

Owns   the detector's grid, weights, step and statistic. State: M, ten non-negative numbers; two rows of them where
       a move in either direction matters (`fresh_drift`, `drift_step`, `drift_statistic`).
Knows not  thresholds, resets, what an alarm does: three copies with three thresholds belong to the controller.

    z = −(d + δ_r),   λ_k = geomspace(.08, .95, 10)/(1 + δ_r),   ω_k ∝ exp(−½((log λ_k − log .5)/.8)²)
    M_k ← (1 + M_k)(1 + λ_k z),    statistic R_n = Σ_k ω_k M_k

While E[d | past] ≥ −δ_r, R_n − n is a supermartingale, so the mean number of pairs before R_n first reaches A is at
least A: no independence and no large sample. (Shin, Ramdas & Rinaldo 2023, "E-detectors: a nonparametric framework for
sequential change detection"; Shiryaev 1963, Roberts 1966.)
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from scoring.stats.bets import FloatArray
from scoring.stats.lattice import LATTICE, ceil_milli

_FRACTIONS: FloatArray = np.geomspace(0.08, 0.95, 10)
_CENTRE = 0.5
_WIDTH = 0.8

CEILING = 1e12
"""M is capped here: far above any threshold in use. A cap only lowers the statistic, so the guarantee stands."""


@lru_cache(maxsize=64)
def stakes(delta_r: float) -> FloatArray:
    """λ_k, shape (10,), read-only. A larger `delta_r` tolerates more harm and reacts later.

    >>> bool((1 - stakes(0.05) * (1 + 0.05) > 0).all())
    True
    """
    if not 0.0 <= delta_r < 1.0:
        raise ValueError(f"delta_r must be in [0, 1), got {delta_r!r}")
    return _frozen(_FRACTIONS / (1.0 + delta_r))


@lru_cache(maxsize=64)
def weights(delta_r: float) -> FloatArray:
    """ω_k, shape (10,), sum 1, read-only.

    >>> round(float(weights(0.05).sum()), 12)
    1.0
    """
    raw = np.exp(-0.5 * ((np.log(stakes(delta_r)) - np.log(_CENTRE)) / _WIDTH) ** 2)
    return _frozen(raw / raw.sum())


def fresh() -> FloatArray:
    """M before the first pair, shape (10,), read-only.

    >>> statistic(fresh(), delta_r=0.05)
    0.0
    """
    return _frozen(np.zeros_like(_FRACTIONS))


@lru_cache(maxsize=32_768)
def factor(d_milli: int, delta_r: float) -> FloatArray:
    """1 + λ_k z, shape (10,), read-only, for d in thousandths (round d UP: `lattice.ceil_milli`).

    >>> bool((factor(-50, 0.05) == 1).all()), bool((factor(-51, 0.05) > 1).all())
    (True, True)
    """
    if not -LATTICE <= d_milli <= LATTICE:
        raise ValueError(f"d must be in [-1000, 1000] thousandths, got {d_milli!r}")
    return _frozen(1.0 - stakes(delta_r) * (d_milli / LATTICE + delta_r))


def step(state: FloatArray, d_milli: int, *, delta_r: float) -> FloatArray:
    """The state after one more pair. `state` may carry leading axes (..., 10): copies that saw the same pair.

    >>> M = fresh()
    >>> for _ in range(100):
    ...     M = step(M, -250, delta_r=0.05)
    >>> statistic(M, delta_r=0.05) > 10_000
    True
    >>> statistic(step(fresh(), 1000, delta_r=0.05), delta_r=0.05) < 1
    True
    """
    following: FloatArray = np.minimum((state + 1.0) * factor(d_milli, delta_r), CEILING)
    return following


def statistic(state: FloatArray, *, delta_r: float) -> float:
    """R = Σ_k ω_k M_k. Compare with A: on average at least A pairs pass before a false alarm.

    At the boundary R counts pairs:

    >>> round(statistic(step(step(fresh(), -50, delta_r=0.05), -50, delta_r=0.05), delta_r=0.05), 9)
    2.0
    """
    return float(state @ weights(delta_r))


def fresh_drift() -> FloatArray:
    """The two-sided detector's state before the first pair, shape (2, 10), read-only.

    >>> drift_statistic(fresh_drift(), tolerance=0.05)
    0.0
    """
    return _frozen(np.zeros((2, len(_FRACTIONS))))


def drift_step(state: FloatArray, change: float, *, tolerance: float) -> FloatArray:
    """The two-sided state after one more re-scored item: row 0 watches for a fall, row 1 for a rise.

    change     what it is now minus what it was at the reference, in [-1, 1]: a judge's d of an anchor pair, a score of
               the teacher. Each row reads it rounded against itself.
    tolerance  τ: drift of less than ±τ is none. Larger tolerates more and reacts later.

    >>> fallen, risen = (drift_step(fresh_drift(), change, tolerance=0.05) for change in (-0.3, 0.3))
    >>> bool((fallen == risen[::-1]).all())
    True
    """
    fall, rise = ceil_milli(change), ceil_milli(-change)
    return np.stack((step(state[0], fall, delta_r=tolerance), step(state[1], rise, delta_r=tolerance)))


def drift_statistic(state: FloatArray, *, tolerance: float) -> float:
    """½ R(fall) + ½ R(rise). While |E[change | past]| ≤ τ at least A items pass, on average, before it reaches A.

    >>> state = fresh_drift()
    >>> for _ in range(60):
    ...     state = drift_step(state, 0.3, tolerance=0.05)
    >>> drift_statistic(state, tolerance=0.05) > 10_000
    True
    >>> for _ in range(400):
    ...     state = drift_step(state, 0.0, tolerance=0.05)
    >>> drift_statistic(state, tolerance=0.05) < 100
    True
    """
    return float((state @ weights(tolerance)).mean())


def pooled(streams: Iterable[tuple[float, float]]) -> float:
    """Σ_κ ρ_κ R_κ over streams given as (share ρ_κ of the false-alarm budget, statistic R_κ); Σρ_κ must be ≤ 1.

    The mixture is again such a statistic: one budget A covers all slices, metrics and directions together.

    >>> pooled([(0.5, 100.0), (0.5, 300.0)])
    200.0
    """
    pairs = tuple(streams)
    budget = sum(share for share, _ in pairs)
    if budget > 1.0 + 1e-9:
        raise ValueError(f"shares of the false-alarm budget sum to {budget!r}, more than 1")
    return sum(share * value for share, value in pairs)


def _frozen(values: FloatArray) -> FloatArray:
    values.setflags(write=False)
    return values
